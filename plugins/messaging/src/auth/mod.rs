//! Authentication: tokens, the keys that verify them, and the sites that clients come from.
//!
//! An [`issuer`] verifies the signature of a [`token`] with its [`key`]s and then checks its [`claims`]. The keys come
//! from a [`source`], and [`live_keys`] keeps them current.

mod accepted_token;
mod check;
mod claim;
mod claims;
mod config;
mod crypto;
mod identity;
mod issuer;
mod jwks;
mod key;
mod live_keys;
mod minter;
mod origin;
mod pem;
mod rejection;
mod rooms;
mod secret;
mod site;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod verifier;

pub(crate) use accepted_token::{AcceptedToken, CLOCK_DIFFERENCE_MAX};
pub use config::{AuthConfig, IssuerConfig};
pub(crate) use identity::Identity;
pub use jsonwebtoken::Algorithm;
pub use minter::{MintError, Minter};
pub(crate) use origin::{Origins, normal as normal_origin};
pub(crate) use rejection::{Refused, Rejection};
pub(crate) use rooms::{ROOM_NAME_LEN_MAX, ROOMS_MAX, RoomClaims, RoomPattern, check_room_name};
pub use site::{NotASite, normal as normal_site};
pub(crate) use site::{Sites, of_origin as site_of_origin};
pub use verifier::KeyError;
pub(crate) use verifier::Verifier;
