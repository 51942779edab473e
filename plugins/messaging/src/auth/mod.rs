//! Who a client is: tokens, the secret that signs them, and the site that it comes from.

mod origin;
mod secret;
mod site;
mod token;

pub(crate) use origin::{Origins, normal as normal_origin};
pub use secret::{Secret, SecretError, mint};
pub(crate) use site::base_domain;
pub(crate) use token::{Identity, Rejection, Verifier};
