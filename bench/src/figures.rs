//! Many measurements in a few numbers.

use serde::Serialize;

/// The middle of some runs, and how far they were apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; between the two middle ones when their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these; zeros when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values = sorted(values);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self {
                median: 0.0,
                min: 0.0,
                max: 0.0,
            };
        };
        let half = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[half - 1], values[half])
        } else {
            values[half]
        };
        Self { median, min, max }
    }
}

/// How long single things took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// Of these.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values = sorted(values);
        Self {
            p50: percentile(&values, 50),
            p95: percentile(&values, 95),
            p99: percentile(&values, 99),
            max: values.last().copied().unwrap_or(0.0),
        }
    }
}

/// The smallest value that so many of a hundred do not exceed; of values in order.
fn percentile(sorted: &[f64], of_hundred: usize) -> f64 {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// One by another, and nothing by nothing.
pub(crate) fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        let spread = |median, min, max| Spread { median, min, max };
        assert_eq!(of(&[4.0, 1.0, 2.0, 9.0]), spread(3.0, 1.0, 9.0));
        assert_eq!(of(&[3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(of(&[]), spread(0.0, 0.0, 0.0));
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let latency = |p50, p95, p99, max| Latency { p50, p95, p99, max };
        let hundred = Latency::of((1..=100).map(f64::from));
        assert_eq!(hundred, latency(50.0, 95.0, 99.0, 100.0));
        assert_eq!(Latency::of([7.0]), latency(7.0, 7.0, 7.0, 7.0));
        assert_eq!(Latency::of([2.0, 1.0]), latency(1.0, 2.0, 2.0, 2.0));
        assert_eq!(Latency::of([]), latency(0.0, 0.0, 0.0, 0.0));
    }
}
