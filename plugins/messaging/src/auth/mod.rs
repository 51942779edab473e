//! Authentication: tokens, the secret that signs them, and the sites that clients come from.

mod config;
mod origin;
mod rooms;
mod secret;
mod site;
mod token;

pub use config::AuthConfig;
pub(crate) use origin::{Origins, normal as normal_origin};
pub(crate) use rooms::{ROOM_NAME_LEN_MAX, RoomClaims, RoomPattern, check_room_name};
pub use secret::{Secret, SecretError, mint};
pub use site::{NotASite, normal as normal_site};
pub(crate) use site::{Sites, of_origin as site_of_origin};
pub(crate) use token::{Identity, Rejection, Verifier};
