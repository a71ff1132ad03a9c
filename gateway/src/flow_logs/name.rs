//! How a file is called, in EC2's manner:
//! `123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1620Z_fe123456.log.gz`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nf_core::vpc::{Compression, FlowLog};

/// The longest text of the document's that a name has, in bytes.
const MAX_PART: usize = 64;

/// The name of a log's file that begins in the span that `time` is in. `hash` tells it from others.
pub(super) fn file_name(log: &FlowLog, span: SystemTime, hash: u32) -> String {
    let (account, region) = (part(&log.account_id), part(log.region()));
    // `2018-06-20T16:20:00Z`
    let time = humantime::format_rfc3339_seconds(span).to_string();
    let time: String =
        time.chars().filter(|c| !matches!(c, '-' | ':')).take("YYYYMMDDTHHmm".len()).collect();
    let end = match log.compression {
        Compression::None => "log",
        Compression::Gzip => "log.gz",
    };
    format!("{account}_vpcflowlogs_{region}_{}_{time}Z_{hash:08x}.{end}", log.id)
}

/// When the span that `time` is in began: spans are as long as `every`, from 1970 on.
pub(super) fn span_of(time: SystemTime, every: Duration) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UNIX_EPOCH + Duration::from_secs(since - since % every.as_secs().max(1))
}

/// A text of the document's as a part of a file's name: it must not lead to another directory.
fn part(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.chars().take(MAX_PART).map(|c| if fits(c) { c } else { '-' }).collect()
}
