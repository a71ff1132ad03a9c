//! Medians of interleaved rounds and their spread.

use serde::Serialize;

/// A figure from several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Of a rate: the median of the rounds. Of a ratio: the ratio of the two medians.
    pub value: f64,
    /// Least of the single rounds.
    pub min: f64,
    /// Greatest of the single rounds.
    pub max: f64,
}

/// Sums up rounds of one rate; nothing of none.
pub fn summarise(rounds: &[f64]) -> Option<Summary> {
    let (min, max) = spread(rounds)?;
    Some(Summary { value: median(rounds)?, min, max })
}

/// The ratio of the medians, with the least and the greatest ratio of a single round: rounds are
/// interleaved, so what slows the machine down for a while slows both of a round. Rounds that one
/// of the two did not finish do not count, and nothing is divided by zero: a cost that is a
/// difference can come out as nothing.
pub fn ratio(over: &[f64], under: &[f64]) -> Option<Summary> {
    let rounds = over.len().min(under.len());
    let (over, under) = (&over[..rounds], &under[..rounds]);
    let singles = over.iter().zip(under).map(|(over, under)| over / under);
    let singles: Vec<_> = singles.filter(|single| single.is_finite()).collect();
    let (min, max) = spread(&singles)?;
    let value = median(over)? / median(under)?;
    value.is_finite().then_some(Summary { value, min, max })
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, sorted[middle])),
    }
}

fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let min = values.iter().copied().min_by(f64::total_cmp)?;
    let max = values.iter().copied().max_by(f64::total_cmp)?;
    Some((min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_of_rounds() {
        let summary = ratio(&[6.0, 2.0, 4.0], &[2.0, 2.0, 1.0]);
        assert_eq!(summary, Some(Summary { value: 2.0, min: 1.0, max: 4.0 }));
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        let summary = ratio(&[6.0, 2.0, 4.0], &[2.0, 0.0, 1.0]);
        assert_eq!(summary, Some(Summary { value: 4.0, min: 3.0, max: 4.0 }));
        assert_eq!(ratio(&[6.0, 2.0, 0.0], &[2.0, 0.0, 0.0]), None);
    }

    #[test]
    fn rounds_that_only_one_finished_do_not_count() {
        let summary = ratio(&[6.0, 100.0], &[2.0]);
        assert_eq!(summary, Some(Summary { value: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(ratio(&[1.0], &[]), None);
        assert_eq!(summarise(&[]), None);
    }
}
