//! From a path to its place in the text, and from a place to its path.
//!
//! Both walk the tree that the TOML reader makes, in which every key and value knows its span. A
//! `[[subnet]]` header is the span of its table; the keys below it lie outside.

use std::ops::Range;

use nf_core::vpc::{Path, Segment};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Where the value at `path` stands: its key, or the header of its table. A key that is not there
/// is a matter of the table it is missing from.
pub(super) fn place_of(root: &DeTable<'_>, path: &Path) -> usize {
    let mut place = 0;
    let mut table = Some(root);
    let mut array = None;
    for segment in path.segments() {
        let value = match segment {
            Segment::Key(key) => {
                let Some((key, value)) = table.and_then(|table| table.get_key_value(*key)) else {
                    break;
                };
                place = key.span().start;
                value
            }
            Segment::Index(index) => {
                let Some(element) =
                    array.and_then(|array: &[Spanned<DeValue<'_>>]| array.get(*index))
                else {
                    break;
                };
                place = element.span().start;
                element
            }
        };
        table = value.get_ref().as_table();
        array = value.get_ref().as_array().map(|array| &array[..]);
    }
    place
}

/// The path of the key or value with exactly this span. Of a table and the array it is the first
/// element of, which have one span, it is the table's.
pub(super) fn path_at(root: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    in_table(root, "", span)
}

fn in_table(table: &DeTable<'_>, path: &str, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        if key.span() == *span { Some(path) } else { in_value(value, path, span) }
    })
}

fn in_value(value: &Spanned<DeValue<'_>>, path: String, span: &Range<usize>) -> Option<String> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => in_table(table, &path, span),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(index, element)| in_value(element, format!("{path}[{index}]"), span)),
        _ => None,
    };
    inside.or_else(|| (value.span() == *span).then_some(path))
}

/// Takes what an error is about out of the tree, so that another reading finds the next one: a
/// wrong key alone, a wrong value with the array element it belongs to. Whether anything was
/// found.
pub(super) fn prune(root: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    match prune_table(root, span) {
        Pruned::No => false,
        Pruned::Done => true,
        Pruned::Parent(key) => {
            root.remove(key.as_str());
            true
        }
    }
}

enum Pruned {
    /// The span is elsewhere.
    No,
    /// It is out.
    Done,
    /// It is a value below this key, and the element around it has to go.
    Parent(String),
}

fn prune_table(table: &mut DeTable<'_>, span: &Range<usize>) -> Pruned {
    let wrong = table.keys().find(|key| key.span() == *span).map(|key| key.get_ref().to_string());
    if let Some(key) = wrong {
        table.remove(key.as_str());
        return Pruned::Done;
    }
    for (key, value) in table.iter_mut() {
        match prune_value(value, span) {
            None => {}
            Some(true) => return Pruned::Done,
            Some(false) => return Pruned::Parent(key.get_ref().to_string()),
        }
    }
    Pruned::No
}

/// `None`: not in here. Otherwise whether it is out already.
fn prune_value(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<bool> {
    let own_span = value.span();
    let inside = match value.get_mut() {
        DeValue::Table(table) => match prune_table(table, span) {
            Pruned::No => None,
            Pruned::Done => Some(true),
            Pruned::Parent(_) => Some(false),
        },
        DeValue::Array(array) => {
            let found = array
                .iter_mut()
                .enumerate()
                .find_map(|(index, element)| Some((index, prune_value(element, span)?)));
            found.map(|(index, done)| {
                if !done {
                    let elements = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
                    *array = elements.filter(|(at, _)| *at != index).map(|(_, it)| it).collect();
                }
                true
            })
        }
        _ => None,
    };
    inside.or_else(|| (own_span == *span).then_some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[subnet]]
id = "a"
[[subnet]]
id = "b"
tags = ["x", "y"]
target = [{ id = 1 }, { id = 2 }]
[group.check]
port = 1
"#;

    fn tree() -> Spanned<DeTable<'static>> {
        DeTable::parse(TEXT).expect("good TOML")
    }

    fn line(offset: usize) -> usize {
        TEXT[..offset].lines().count() + usize::from(TEXT[..offset].ends_with('\n'))
    }

    #[test]
    fn a_path_leads_to_its_key_or_header() {
        let tree = tree();
        let subnet = Path::of("subnet", 1);
        for (path, text) in [
            (subnet.clone(), "[[subnet]]\nid = \"b\""),
            (subnet.key("id"), "id = \"b\""),
            (subnet.key("tags"), "tags ="),
            (subnet.key("tags").index(1), "\"y\""),
            (subnet.key("target").index(1).key("id"), "id = 2"),
            (Path::of("subnet", 0).key("missing"), "[[subnet]]\nid = \"a\""),
        ] {
            let place = place_of(tree.get_ref(), &path);
            assert!(TEXT[place..].starts_with(text), "{path}: {:?}", &TEXT[place..]);
        }
        assert_eq!(line(place_of(tree.get_ref(), &Path::of("subnet", 7))), 2);
        assert_eq!(place_of(tree.get_ref(), &Path::of("nothing", 0)), 0);
    }

    fn span_of(text: &str) -> Range<usize> {
        let start = TEXT.find(text).expect(text);
        start..start + text.len()
    }

    #[test]
    fn a_span_leads_to_its_path() {
        let tree = tree();
        for (text, path) in [
            ("\"b\"", "subnet[1].id"),
            ("tags", "subnet[1].tags"),
            ("\"y\"", "subnet[1].tags[1]"),
            ("[[subnet]]", "subnet[0]"),
            ("{ id = 2 }", "subnet[1].target[1]"),
            ("port", "group.check.port"),
        ] {
            assert_eq!(path_at(tree.get_ref(), &span_of(text)).as_deref(), Some(path));
        }
        assert_eq!(path_at(tree.get_ref(), &(0..1)), None);
    }

    /// What is left of the array `subnet`, as `id: number of targets`.
    fn left(root: &DeTable<'_>) -> Vec<String> {
        let subnets = root["subnet"].get_ref().as_array().expect("an array");
        let text = |subnet: &Spanned<DeValue<'_>>| {
            let targets = subnet.get_ref().get("target").and_then(|it| it.get_ref().as_array());
            let id = subnet.get_ref().get("id").and_then(|it| it.get_ref().as_str());
            format!("{}: {}", id.unwrap_or("none"), targets.map_or(0, |it| it.len()))
        };
        subnets.iter().map(text).collect()
    }

    #[test]
    fn pruning_takes_a_key_alone_and_a_value_with_its_element() {
        let mut tree = tree();
        let root = tree.get_mut();
        assert_eq!(left(root), ["a: 0", "b: 2"]);
        assert!(prune(root, &span_of("2")), "the number in the second target");
        assert_eq!(left(root), ["a: 0", "b: 1"]);
        assert!(prune(root, &span_of("target")), "a key");
        assert_eq!(left(root), ["a: 0", "b: 0"]);
        assert!(prune(root, &span_of("\"a\"")), "a value of the first subnet");
        assert_eq!(left(root), ["b: 0"]);
        let port = span_of("port = 1");
        assert!(prune(root, &(port.end - 1..port.end)), "a value in no array");
        assert!(!root.contains_key("group"));
        assert!(!prune(root, &span_of("\"a\"")), "it is gone");
    }
}
