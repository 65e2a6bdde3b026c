//! Panics of libraries as errors.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Once};

use rayon::prelude::*;

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work` and returns what it returns, or why it panicked.
///
/// Libraries panic on what a model's files or a text make them do: libtorch on an index out of range, regular
/// expressions at their limit. One document must not end the run, so whoever knows the document catches the panic. The
/// message is fit for a log: it names the place in the source, and of the panic's own message at most libtorch's first
/// line, because other messages may quote text. Nothing is printed.
///
/// # Errors
/// The message, if `work` panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match IS_CAUGHT.get() {
            true => LAST.set(Some(message(panic))),
            false => before(panic),
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(outer);
    // A panic of a worker thread comes with the message that the worker noted.
    result.map_err(|panic| match panic.downcast::<Noted>() {
        Ok(noted) => noted.0,
        Err(_) => LAST.take().unwrap_or_else(|| "a library panicked".to_owned()),
    })
}

/// `work` for other threads that work for this one: if this one's panics are caught, [`caught`] returns the message of
/// theirs.
pub fn carried<T, R>(work: impl Fn(T) -> R) -> impl Fn(T) -> R {
    let is_caught = IS_CAUGHT.get();
    move |item| match is_caught {
        true => caught(|| work(item)).unwrap_or_else(|message| resume_unwind(Box::new(Noted(message)))),
        false => work(item),
    }
}

/// Whether rayon's threads could be created. On a machine at its limit of threads they cannot, and rayon would panic.
static HAS_THREADS: LazyLock<bool> = LazyLock::new(|| {
    let created = rayon::ThreadPoolBuilder::new().build_global();
    // The error without a source is that the program has created them already.
    created.as_ref().err().and_then(std::error::Error::source).is_none()
});

/// Applies `work` to items on rayon's threads, and on this one where there are none. Results have the order of the items.
/// If this thread's panics are caught, so are those of the others, as by [`carried`].
pub fn in_parallel<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Send + Sync,
) -> Vec<R> {
    let items = items.into_iter();
    match *HAS_THREADS {
        true => items.collect::<Vec<T>>().into_par_iter().map(carried(work)).collect(),
        false => items.map(work).collect(),
    }
}

/// A panic whose message was noted.
struct Noted(String);

fn message(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(String::new, |place| {
        // Without the folders of the machine that built this program.
        let file = place.file().rsplit(['/', '\\']).take(3).collect::<Vec<_>>();
        format!(" at {}:{}", file.into_iter().rev().collect::<Vec<_>>().join("/"), place.line())
    });
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    if let Some(text) = text.filter(|text| text.starts_with("the model computes ")) {
        return text.to_owned();
    }
    let of_torch = text.and_then(|text| text.split_once("Torch(\"")).map(|(_, text)| {
        let first = text.split("\\n").next().unwrap_or(text);
        format!(": {}", first.chars().take(200).collect::<String>())
    });
    format!("a library failed{place}{}", of_torch.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_message_without_its_text() {
        assert_eq!(caught(|| 1), Ok(1));
        let text = String::from("naïve");
        let message = caught(|| text[..3].len()).unwrap_err();
        assert!(message.contains("src/caught.rs:") && !message.contains("na"), "{message}");
        let message =
            caught(|| panic!("called `Result::unwrap()`: Torch(\"index out of range\\nframe #0\")")).unwrap_err();
        assert!(message.ends_with(": index out of range"), "{message}");
        let message = caught(|| in_parallel(1..9, |item| assert!(item < 3, "text"))).unwrap_err();
        assert!(message.starts_with("a library failed at "), "{message}");
        assert!(!IS_CAUGHT.get());
        assert_eq!(in_parallel(1..4, |item| 2 * item), [2, 4, 6]);
    }
}
