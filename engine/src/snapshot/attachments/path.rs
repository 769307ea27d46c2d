//! The path of an attachment: what files are called in lists, rows and archives.

use super::{StoredAttachment, owner_of};

/// Longest part of a path that is shown as it is, in bytes; keys of rows have limits.
const PART_BYTES_MAX: usize = 160;

impl StoredAttachment {
    /// Its path among the files of its source: `<stream>/<record>/<id>/<name>`, each part fit for a file system. `stream` is
    /// the attachments stream that it is from.
    pub fn path(&self, stream: &str) -> String {
        let owner = owner_of(stream).unwrap_or(stream);
        [owner, &self.record, &self.attachment, &self.name].map(part).join("/")
    }
}

/// Characters that paths or keys of rows are made with become `_`; a part that changed or is too long ends in a digest, so
/// that no two are taken for one.
fn part(text: &str) -> String {
    let is_plain =
        |c: char| !c.is_control() && !matches!(c, '/' | '\\' | '#' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let is_name = !text.ends_with('.') && !text.is_empty() && !text.starts_with('.') && text.trim() == text;
    if text.len() <= PART_BYTES_MAX && is_name && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut shown: String =
        text.trim().trim_start_matches('.').chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    while shown.len() > PART_BYTES_MAX - 20 {
        shown.pop();
    }
    format!("{shown}~{}", &blake3::hash(text.as_bytes()).to_hex()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_never_leaves_its_place_and_two_texts_never_become_one() {
        assert_eq!(part("Vertrag Müller.pdf"), "Vertrag Müller.pdf");
        let hostile =
            ["..", ".", "", "a.", "../../etc/passwd", "a/b", "a_b/", "a#b", "CON:", "a\nb", " a", &"x".repeat(3000)];
        let parts: Vec<String> = hostile.iter().map(|text| part(text)).collect();
        assert!(parts.iter().all(|part| !part.contains(['/', '#', '\n']) && !part.starts_with('.')), "{parts:?}");
        assert!(parts.iter().all(|part| part.len() <= PART_BYTES_MAX && !part.is_empty()), "{parts:?}");
        assert_ne!(part("a/b"), part("a#b"));
    }
}
