//! What `packets` can be asked for.

use std::str::FromStr;
use std::time::Duration;

use crate::frames::place::Place;
use crate::frames::sender::Order;
use crate::frames::{CHECK_SEQUENCE, MAX_FRAME, MIN_FRAME, Sizes, stage};
use crate::output::{Output, Rate, parse_count, parse_duration};

/// Options of `packets`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub stage: stage::Options,
    /// Interface behind the gateway that checks, counts and drops the frames; without it nobody
    /// looks what arrives
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub receive: Option<Place>,
    /// Flows, which take turns
    #[arg(long, default_value = "1", value_parser = parse_count, conflicts_with = "new_flows")]
    pub flows: u64,
    /// Every frame is the first of a new flow, until the addresses in --source have no ports left:
    /// measures new flows a second (TCP sends SYNs)
    #[arg(long)]
    pub new_flows: bool,
    /// Frame sizes in bytes without the 4 of the check sequence, a trial each: `60`, `60,508`,
    /// `imix` (7:4:1 of 64, 570 and 1518 with check sequence), `rfc2544` (64 to 1518 with it)
    #[arg(long, default_value = "60")]
    pub size: SizeList,
    /// Frames a second, or `line` for as fast as it goes
    #[arg(long, default_value = "line")]
    pub rate: Pace,
    /// How long a trial lasts, warm-up not counted
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Frames a second while the gateway learns the flows, before a trial
    #[arg(long, default_value = "50k")]
    pub warm_up_rate: Rate,
    /// Share of the frames that may be lost, 0 to 1; more is a failure (exit code 3)
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub max_loss: Option<f64>,
    #[command(flatten)]
    pub output: Output,
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is no share: write a number from 0 to 1")),
    }
}

/// As fast as it goes, or a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as it goes.
    Line,
    /// So many frames a second.
    Rate(Rate),
}

impl Pace {
    /// An order at this pace.
    pub fn set(self, order: Order) -> Order {
        match self {
            Self::Line => order,
            Self::Rate(rate) => order.at(rate.get()),
        }
    }
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "line" { Ok(Self::Line) } else { text.parse().map(Self::Rate) }
    }
}

/// Frame sizes of one trial, and what they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialSize {
    /// As it was written: `60` or `imix`.
    pub name: String,
    /// The sizes.
    pub sizes: Sizes,
}

/// A trial each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeList(pub Vec<TrialSize>);

/// Frame sizes that RFC 2544 asks for on Ethernet, check sequence included.
const RFC_2544: [u32; 7] = [64, 128, 256, 512, 1024, 1280, 1518];

impl FromStr for SizeList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |size: u32| TrialSize { name: size.to_string(), sizes: Sizes::one(size) };
        let mut list = Vec::new();
        for word in text.split(',') {
            match word {
                "imix" | "IMIX" => {
                    list.push(TrialSize { name: "imix".to_owned(), sizes: Sizes::IMIX });
                }
                "rfc2544" => list.extend(RFC_2544.map(|size| one(size - CHECK_SEQUENCE))),
                word => match word.parse::<u32>() {
                    Ok(size) if (MIN_FRAME..=MAX_FRAME).contains(&size) => list.push(one(size)),
                    _ => {
                        return Err(format!(
                            "`{word}` is no frame size: write {MIN_FRAME} to {MAX_FRAME} (without \
                             check sequence), imix or rfc2544"
                        ));
                    }
                },
            }
        }
        Ok(Self(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_mixes_or_the_list_of_rfc_2544() {
        let parse = |text: &str| text.parse::<SizeList>();
        let names =
            |text| -> Vec<_> { parse(text).unwrap().0.into_iter().map(|size| size.name).collect() };
        assert_eq!(names("60"), ["60"]);
        assert_eq!(names("60,imix,1514"), ["60", "imix", "1514"]);
        assert_eq!(names("rfc2544"), ["60", "124", "252", "508", "1020", "1276", "1514"]);
        assert_eq!(parse("imix").unwrap().0[0].sizes, Sizes::IMIX);
        for bad in ["59", "1515", "", "60,", "big"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pace_is_a_rate_or_the_line_s() {
        assert_eq!("line".parse(), Ok(Pace::Line));
        assert_eq!("50k".parse(), Ok(Pace::Rate("50000".parse().unwrap())));
        assert!("0".parse::<Pace>().is_err());
    }

    #[test]
    fn a_share_is_between_nothing_and_all() {
        assert_eq!(parse_share("0.001"), Ok(0.001));
        for bad in ["-0.1", "1.1", "nan", "5%"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }
}
