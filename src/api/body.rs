//! A time limit for request bodies.

use axum::BoxError;
use axum::body::Bytes;
use humantime::format_duration;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// A body that fails if it does not arrive within a time limit.
pub(super) struct TimeLimited<B> {
    body: B,
    limit: Duration,
    end: Pin<Box<Sleep>>,
}

impl<B> TimeLimited<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, end: Box::pin(sleep(limit)) }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for TimeLimited<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                let limit = format_duration(self.limit);
                self.end.as_mut().poll(cx).map(|()| Some(Err(format!("the body did not arrive within {limit}").into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};

    #[tokio::test]
    async fn a_body_that_does_not_arrive_fails() {
        let half = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let error = TimeLimited::new(StreamBody::new(half), Duration::from_millis(20)).collect().await.err().unwrap();
        assert_eq!(error.to_string(), "the body did not arrive within 20ms");
        let whole = TimeLimited::new(Full::new(Bytes::from("whole")), Duration::from_secs(60)).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "whole");
    }
}
