//! How a secondary address goes: no new flow leaves from it from now on, those that there are go on
//! until a moment, and then it is taken away.

use nf_core::vpc::document::{Document, SecondaryAddress, UnixTime};

use super::write_down;
use crate::actions::{Draft, Refusal};

/// In seconds: EC2's default of `MaxDrainDurationSeconds`.
const USUAL: u32 = 350;

/// In seconds, as at EC2 (`MaxDrainDurationSeconds`, 1 to 4000).
const LONGEST: u32 = 4000;

/// Until when an address drains that begins now.
pub(super) fn drain_end(now: UnixTime, seconds: Option<u32>) -> Result<UnixTime, Refusal> {
    let seconds = seconds.unwrap_or(USUAL);
    if !(1..=LONGEST).contains(&seconds) {
        let message = format!("max_drain_duration_seconds is from 1 to {LONGEST}, not {seconds}");
        return Err(Refusal::value(message));
    }
    Ok(UnixTime(now.0.saturating_add(seconds.into())))
}

/// When the next address of a document has drained.
#[must_use]
pub fn next_drain_end(document: &Document) -> Option<UnixTime> {
    let all = document.nat_gateway.iter().flat_map(|gateway| &gateway.secondary_address);
    all.filter_map(|it| it.drain_until).min()
}

/// Takes the addresses away that have drained, and names them.
///
/// # Errors
///
/// The document would not be valid without them. The draft is of no more use then.
pub fn end_drains(draft: &mut Draft) -> Result<Vec<String>, Refusal> {
    draft.edit(|edit| {
        let now = edit.now;
        let is_over = |it: &SecondaryAddress| it.drain_until.is_some_and(|end| end <= now);
        let mut gone = Vec::new();
        for gateway in &mut edit.document.nat_gateway {
            if !gateway.secondary_address.iter().any(is_over) {
                continue;
            }
            write_down(gateway, edit.before);
            for drained in gateway.secondary_address.extract_if(.., |it| is_over(it)) {
                let named = [
                    drained.allocation_id.map(|it| it.to_string()),
                    drained.private_ip_address.map(|it| it.to_string()),
                ];
                let named: Vec<_> = named.into_iter().flatten().collect();
                gone.push(format!("{} of {}", named.join(" on "), gateway.nat_gateway_id));
            }
        }
        Ok(gone)
    })
}
