//! What a valid token says about its client.

use super::accepted_token::AcceptedToken;
use super::claim::text;
use super::config::IssuerConfig;
use super::rejection::Rejection;
use super::rooms::{InvalidClaims, RoomClaims};
use super::site::{NotASite, normal as normal_site};
use serde_json::{Map, Value};

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user's id.
    pub(crate) user: String,
    pub(crate) site: Option<String>,
    pub(crate) rooms: RoomClaims,
    pub(crate) token: AcceptedToken,
    /// All claims of the token.
    pub(crate) claims: Map<String, Value>,
}

/// The names of the claims that an issuer uses.
pub(super) struct ClaimNames {
    user: String,
    site: String,
    rooms: String,
    join: String,
}

impl ClaimNames {
    pub(super) fn new(config: &IssuerConfig) -> Self {
        Self {
            user: config.user_claim.clone(),
            site: config.site_claim.clone(),
            rooms: config.rooms_claim.clone(),
            join: config.join_claim.clone(),
        }
    }

    /// The user's id.
    pub(super) fn user(&self, claims: &Map<String, Value>) -> Option<String> {
        [self.user.as_str(), "sub"].iter().find_map(|claim| text(claims.get(*claim)?))
    }

    pub(super) fn identity(&self, claims: Map<String, Value>, token: AcceptedToken) -> Result<Identity, Rejection> {
        let user = self.user(&claims).ok_or(Rejection::NO_USER)?;
        let site = site(claims.get(&self.site)).map_err(|_| Rejection::INVALID_SITE)?;
        let rooms =
            RoomClaims::read(&claims, &self.rooms, &self.join).map_err(|InvalidClaims| Rejection::INVALID_ROOMS)?;
        Ok(Identity { user, site, rooms, token, claims })
    }
}

/// The site that a claim names, in its normal form. A claim that is there and names none is an error, because the site
/// would otherwise come from the Origin header.
fn site(claim: Option<&Value>) -> Result<Option<String>, NotASite> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(claim) => normal_site(&text(claim).ok_or(NotASite::NoHost)?).map(Some),
    }
}
