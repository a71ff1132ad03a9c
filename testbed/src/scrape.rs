//! Reads metrics pages: as much of Prometheus' text format as it takes to look numbers up.

/// The samples of one page.
#[derive(Clone, Debug, Default)]
pub struct Scrape(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Takes a page apart. Lines that are no samples are skipped: comments, for instance.
    #[must_use]
    pub fn parse(page: &str) -> Self {
        Self(page.lines().filter_map(Sample::parse).collect())
    }

    /// The sum of all samples of a name that have all of these labels, or `None` if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let mut matching =
            self.0.iter().filter(|it| it.name == name && it.has(labels)).map(|it| it.value);
        let first = matching.next()?;
        let sum = matching.fold(first, |sum, value| sum + value);
        // What is summed up are counters and gauges of whole things, far below 2^53.
        #[expect(clippy::cast_sign_loss, reason = "counts are not negative")]
        Some(sum as u64)
    }
}

impl Sample {
    /// `name{label="value",…} 1.0`, labels and braces left out where there are none.
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let Some((name, rest)) = line.split_once('{') else {
            let (name, value) = line.split_once(' ')?;
            return Some(Self { name: name.to_owned(), labels: Vec::new(), value: number(value)? });
        };
        let mut labels = Vec::new();
        let mut rest = rest;
        let value = loop {
            if let Some(value) = rest.strip_prefix('}') {
                break value;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (text, after) = quoted(after)?;
            labels.push((label.trim_start_matches(',').trim().to_owned(), text));
            rest = after;
        };
        Some(Self { name: name.to_owned(), labels, value: number(value)? })
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.iter().any(|(n, v)| n == name && v == value))
    }
}

/// The number of a sample; a time stamp may follow it.
fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The text up to the closing quotation mark, and what is behind it. `\\`, `\"` and `\n` are the
/// only escapes.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"
# HELP packets_total Packets.
# TYPE packets_total counter
packets_total{port="wan0",verdict="forwarded"} 7
packets_total{port="wan0",verdict="punted"} 2 1700000000
packets_total{port="a \"b\", c=\"d\"}",verdict="forwarded"} 3e0
flows 12
broken{ 1
"#;

    #[test]
    fn samples_are_summed_by_name_and_labels() {
        let scrape = Scrape::parse(PAGE);
        assert_eq!(scrape.sum("packets_total", &[]), Some(12));
        assert_eq!(scrape.sum("packets_total", &[("verdict", "forwarded")]), Some(10));
        let labels = [("port", "wan0"), ("verdict", "punted")];
        assert_eq!(scrape.sum("packets_total", &labels), Some(2));
        assert_eq!(scrape.sum("packets_total", &[("port", "a \"b\", c=\"d\"}")]), Some(3));
        assert_eq!(scrape.sum("flows", &[]), Some(12));
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        let scrape = Scrape::parse(PAGE);
        assert_eq!(scrape.sum("broken", &[]), None);
        assert_eq!(scrape.sum("packets_total", &[("verdict", "lost")]), None);
    }
}
