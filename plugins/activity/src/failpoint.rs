//! Where the process dies, in tests of what it leaves behind. Without the feature `failpoints` nothing of it is
//! compiled.

/// Ends the process at once, as SIGKILL would, if `FAILPOINT` in its environment says so: `<step> <path> <times>`, when
/// it comes to `step` for the given time with a path that has `path` in it.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(step: &str, path: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FAILPOINT: LazyLock<Vec<String>> =
        LazyLock::new(|| std::env::var("FAILPOINT").unwrap_or_default().split(' ').map(str::to_owned).collect());
    static PASSED: AtomicU32 = AtomicU32::new(0);

    let [at, of, times] = FAILPOINT.as_slice() else { return };
    if at == step && path.contains(of.as_str()) && times.parse() == Ok(PASSED.fetch_add(1, Ordering::Relaxed) + 1) {
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_step: &str, _path: &str) {}
