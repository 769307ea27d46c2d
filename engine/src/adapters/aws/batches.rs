//! Requests that carry several entries, of which each may fail by itself.

use std::time::Duration;

/// The most entries of one request, of SQS and of EventBridge.
pub(super) const MAX_ENTRIES: usize = 10;
/// The most bytes of one request. AWS itself takes more by now, services compatible with it may not.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// How often an entry is sent before its caller has to try again.
pub(super) const MAX_ATTEMPTS: u32 = 5;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Cuts entries into requests, in their order. One that is too large by itself gets a request of its own.
pub(super) fn cut<T>(entries: impl IntoIterator<Item = T>, size_bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut room_bytes = 0;
    for entry in entries {
        let size_bytes = size_bytes(&entry);
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_ENTRIES && size_bytes <= room_bytes => {
                room_bytes -= size_bytes;
                batch.push(entry);
            }
            _ => {
                room_bytes = MAX_BYTES.saturating_sub(size_bytes);
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

/// The pause before the attempt after this one, counted from 1: 100 ms, then twice as long each time.
pub(super) fn pause_after(attempt: u32) -> Duration {
    FIRST_PAUSE * 2u32.saturating_pow(attempt.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_at_most_ten_entries_and_a_quarter_of_a_megabyte() {
        let sizes = |entries: Vec<usize>| cut(entries, |size| *size);
        assert_eq!(sizes(vec![]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(vec![1; 21]), [vec![1; 10], vec![1; 10], vec![1]]);
        let half = MAX_BYTES / 2;
        assert_eq!(sizes(vec![half, half, 1, half]), [vec![half, half], vec![1, half]]);
        assert_eq!(sizes(vec![1, MAX_BYTES + 1, 2]), [vec![1], vec![MAX_BYTES + 1], vec![2]]);
    }

    #[test]
    fn pauses_double() {
        assert_eq!([1, 2, 4].map(|attempt| pause_after(attempt).as_millis()), [100, 200, 800]);
    }
}
