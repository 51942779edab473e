//! Socket.io gateway.
