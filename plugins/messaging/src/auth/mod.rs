//! Who a client is: tokens, the secret that signs them, and the site that it comes from.

mod secret;
mod site;
mod token;

pub use secret::{Secret, SecretError, mint};
pub(crate) use site::base_domain;
pub(crate) use token::{Identity, Rejection, Verifier};
