//! The resource document on disk: TOML in, a [`Snapshot`] out, or every error with its line.

use std::path::Path;
use std::sync::Arc;

use nf_core::id::Generation;
use nf_core::vpc::{Document, Invalid, Snapshot};
use toml::de::DeTable;

use super::Diagnostic;
use super::locate::place_of;
use super::shape;
use super::source::Source;

/// A resource document that is well formed.
#[derive(Debug)]
pub struct ResourceFile {
    source: Source,
    document: Document,
}

impl ResourceFile {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not TOML, or has unknown keys, missing ones or values of the
    /// wrong type, in the order of their lines; never an empty list.
    pub fn read(file: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::from_source(Source::read(file).map_err(|error| vec![error])?)
    }

    /// Reads a document again; if the text is the same to the byte, it still says what is `known`.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_again(file: &Path, known: &Arc<Self>) -> Result<Arc<Self>, Vec<Diagnostic>> {
        let source = Source::read(file).map_err(|error| vec![error])?;
        if source.text() == known.text() {
            return Ok(Arc::clone(known));
        }
        Self::from_source(source).map(Arc::new)
    }

    pub(super) fn from_source(source: Source) -> Result<Self, Vec<Diagnostic>> {
        let document = shape::read(&source)?;
        Ok(Self { source, document })
    }

    /// What the file says.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The same file with another text, which says `document`.
    #[must_use]
    pub fn changed(&self, text: String, document: Document) -> Self {
        Self { source: self.source.changed(text), document }
    }

    /// How the file says it.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.text()
    }

    /// Validates the document and resolves it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the lines; never an empty list.
    pub fn snapshot(&self, generation: Generation) -> Result<Snapshot, Vec<Diagnostic>> {
        Snapshot::build(generation, &self.document).map_err(|invalid| self.locate(&invalid))
    }

    /// The warnings of a snapshot of this document, with their lines.
    #[must_use]
    pub fn warnings(&self, snapshot: &Snapshot) -> Vec<Diagnostic> {
        self.locate(snapshot.warnings())
    }

    /// Finds the lines by reading the text a second time: spans are only kept where they are
    /// needed.
    fn locate(&self, invalid: &[Invalid]) -> Vec<Diagnostic> {
        if invalid.is_empty() {
            return Vec::new();
        }
        let (tree, _) = DeTable::parse_recoverable(self.source.text());
        let found = invalid.iter().map(|Invalid { path, kind }| {
            let place = place_of(tree.get_ref(), path);
            Diagnostic {
                code: Some(kind.code()),
                ..self.source.diagnostic(place, path.to_string(), kind.to_string())
            }
        });
        shape::sorted(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let source = Source::of("resources.toml", text);
        let errors = match ResourceFile::from_source(source) {
            Ok(file) => file.snapshot(Generation(1)).expect_err("the document has an error"),
            Err(errors) => errors,
        };
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn syntax_errors_have_their_line_and_column() {
        assert_eq!(
            errors("[[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = 10.0.0.0/16\n\n[[subnet]\n"),
            [
                "resources.toml:3:18: invalid float; write texts such as addresses in quotes",
                "resources.toml:5:10: unclosed array table, expected `]`",
            ]
        );
    }

    #[test]
    fn every_unknown_key_is_reported() {
        let text = r#"
[[vpc]]
vpc_id = "vpc-a"
cidr_blok = "10.0.0.0/16"
cidr_block = "10.0.0.0/16"
colour = "blue"

[[subnet]]
subnet_id = "subnet-a"
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/24"
zone = "a"

[[vpn]]
"#;
        let errors = errors(text);
        let starts: Vec<_> =
            errors.iter().map(|it| it.split(", expected").next().unwrap_or_default()).collect();
        assert_eq!(
            starts,
            [
                "resources.toml:4:1: vpc[0].cidr_blok: unknown field `cidr_blok`",
                "resources.toml:6:1: vpc[0].colour: unknown field `colour`",
                "resources.toml:12:1: subnet[0].zone: unknown field `zone`",
                "resources.toml:14:3: vpn: unknown field `vpn`",
            ]
        );
        assert!(errors[0].ends_with("(UnknownParameter)"), "{}", errors[0]);
    }

    #[test]
    fn values_of_the_wrong_type_or_form_and_missing_keys_are_reported_together() {
        let text = r#"
[[vpc]]
vpc_id = "blue"
cidr_block = "10.0.0.0/16"

[[vpc]]
vpc_id = "vpc-b"

[[subnet]]
subnet_id = "subnet-a"
vpc_id = "vpc-a"
cidr_block = "10.0.0/24"

[[target_group]]
target_group_name = "web"
protocol = "TCP"
port = 0
vpc_id = "vpc-a"

[[target_group]]
target_group_name = "dns"
protocol = "udp"
port = 53
vpc_id = "vpc-a"

[[target_group]]
target_group_name = "ntp"
protocol = "UDP"
port = 123
vpc_id = "vpc-a"
target = [{ id = "10.0.0.300" }, { id = "10.0.0.30" }, { id = 5 }]
"#;
        assert_eq!(
            errors(text),
            [
                "resources.toml:3:10: vpc[0].vpc_id: `blue` is not the id of a VPC: write `vpc-` \
                 and 1 to 64 letters, digits or hyphens (InvalidParameterValue)",
                "resources.toml:6:1: vpc[1]: missing field `cidr_block` (MissingParameter)",
                "resources.toml:12:14: subnet[0].cidr_block: `10.0.0/24` is not an IPv4 network \
                 such as 10.0.0.0/16 (InvalidParameterValue)",
                "resources.toml:17:8: target_group[0].port: invalid value: integer `0`, expected \
                 a nonzero u16 (InvalidParameterValue)",
                "resources.toml:22:12: target_group[1].protocol: unknown variant `udp`, expected \
                 `TCP` or `UDP` (InvalidParameterValue)",
                "resources.toml:31:18: target_group[2].target[0].id: `10.0.0.300` is not an IPv4 \
                 or IPv6 address such as 10.0.1.10 (InvalidParameterValue)",
                "resources.toml:31:63: target_group[2].target[2].id: invalid type: integer `5`, \
                 expected a string (InvalidParameterValue)",
            ]
        );
    }

    #[test]
    fn semantic_errors_come_all_at_once_in_the_order_of_the_lines() {
        let text = r#"# A comment.
[[subnet]]
subnet_id = "subnet-a"
vpc_id = "vpc-a"
cidr_block = "10.1.0.0/24"

[[subnet]]
subnet_id = "subnet-b"
vpc_id = "vpc-missing"
cidr_block = "10.0.0.0/24"

[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"

[[nat_gateway]]
nat_gateway_id = "nat-a"
subnet_id = "subnet-a"

[[target_group]]
target_group_name = "web"
protocol = "TCP"
port = 80
vpc_id = "vpc-a"
target = [
    { id = "10.0.0.10" },
    { id = "8.8.8.8" },
]
[target_group.health_check]
interval_seconds = 0
"#;
        assert_eq!(
            errors(text),
            [
                "resources.toml:5:1: subnet[0].cidr_block: 10.1.0.0/24 is not inside 10.0.0.0/16, \
                 the block of vpc-a (InvalidSubnet.Range)",
                "resources.toml:9:1: subnet[1].vpc_id: VPC `vpc-missing` does not exist: declare \
                 it or correct the id (InvalidVpcID.NotFound)",
                "resources.toml:16:1: nat_gateway[0].allocation_ids: a public NAT gateway needs \
                 at least one Elastic IP address in allocation_ids (MissingParameter)",
                "resources.toml:27:7: target_group[0].target[1].id: 8.8.8.8 is neither in vpc-a \
                 nor private: targets may not be public (InvalidTarget)",
                "resources.toml:30:1: target_group[0].health_check.interval_seconds: 0 is outside \
                 1 to 300 (InvalidParameterValue)",
            ]
        );
    }

    #[test]
    fn warnings_have_their_lines_too() {
        let text = r#"
[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"

[[route_table]]
route_table_id = "rtb-a"
vpc_id = "vpc-a"

[[route_table.route]]
destination_cidr_block = "0.0.0.0/0"
nat_gateway_id = "nat-gone"
"#;
        let file = ResourceFile::from_source(Source::of("r.toml", text)).expect("well formed");
        let snapshot = file.snapshot(Generation(1)).expect("a warning is no error");
        let [warning] = &file.warnings(&snapshot)[..] else { panic!("one warning") };
        assert_eq!((warning.line, warning.column), (Some(12), Some(1)));
        assert_eq!(warning.path, "route_table[0].route[0].nat_gateway_id");
    }

    #[test]
    fn a_document_with_too_many_errors_is_given_up_on() {
        let lines: Vec<_> = (0..200).map(|place| format!("key_{place} = 1")).collect();
        assert_eq!(errors(&lines.join("\n")).len(), 50);
    }

    proptest! {
        /// One piece of a good document is replaced by another from anywhere in it.
        #[test]
        fn a_damaged_document_is_told_of_within_its_text_and_nothing_panics(
            from in 0..SAMPLE.len(), length in 0..40_usize,
            to in 0..SAMPLE.len(), inserted in 0..40_usize,
        ) {
            let piece = |start: usize, length: usize| {
                let end = (start + length).min(SAMPLE.len());
                SAMPLE.floor_char_boundary(start)..SAMPLE.floor_char_boundary(end)
            };
            let mut text = SAMPLE.to_owned();
            text.replace_range(piece(to, length), &SAMPLE[piece(from, inserted)]);
            let errors = match ResourceFile::from_source(Source::of("r.toml", &text)) {
                Ok(file) => file.snapshot(Generation(1)).err().unwrap_or_default(),
                Err(errors) => errors,
            };
            let lines = text.split('\n').count();
            for error in errors {
                let line = error.line.expect("every error has a line");
                prop_assert!(line <= lines, "{error} in {lines} lines");
                let width = text.split('\n').nth(line - 1).unwrap_or_default().chars().count();
                prop_assert!(error.column.is_some_and(|column| column <= width + 1), "{error}");
            }
        }
    }

    const SAMPLE: &str = include_str!("../../../configs/two-tenants/resources.toml");
}
