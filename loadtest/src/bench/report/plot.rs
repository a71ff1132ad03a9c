//! Plots as SVG: lines over categories, or a bar for each contender. Colours and fonts come from
//! the page's style sheet, so that they follow its light or dark theme.

use std::fmt::Write as _;

use super::html::escape;
use crate::bench::results::Results;
use crate::bench::scenario::{Entry, Measure, Origin, Scenario, series_name};

/// A plot of a scenario's figures.
#[derive(Debug)]
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// How.
    pub shape: Shape,
    /// What the places differ in, if there are several.
    pub axis: &'static str,
    /// Which figures, in order. All are of one unit.
    pub points: &'static [Point],
}

/// A place on the axis.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The measure that is shown there.
    pub measure: &'static str,
    /// What the place is called.
    pub label: &'static str,
}

/// What a plot looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A line for each contender, from place to place.
    Lines,
    /// A bar for each contender at each place.
    Bars,
}

const WIDTH: f64 = 760.0;
/// Height of a plot of lines, and of one bar with the gap below it.
const HEIGHT: f64 = 300.0;
const BAR: f64 = 30.0;
/// Room for the labels of the axes.
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 48.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 16.0;
/// Room for contenders' names beside bars, and for figures behind them.
const NAMES: f64 = 240.0;
const FIGURES: f64 = 110.0;

/// A figure with the least and the greatest of its rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figure {
    place: usize,
    value: f64,
    least: f64,
    greatest: f64,
}

/// One contender's figures.
struct Line {
    entry: &'static Entry,
    class: String,
    figures: Vec<Figure>,
}

/// The plot with its title and legend; nothing if there are no figures.
pub fn render(plot: &Plot, scenario: &'static Scenario, results: &Results) -> Option<String> {
    let first = plot.points.first()?.measure;
    let measure = scenario.measures().find(|it| it.name == first)?;
    let places = places(plot, scenario, results);
    let lines = lines(&places, scenario, results);
    let figures = lines.iter().flat_map(|line| &line.figures);
    let top = scale(figures.map(|figure| figure.greatest).max_by(f64::total_cmp)?)?;
    let (drawing, height) = match plot.shape {
        Shape::Lines => (draw_lines(&places, plot.axis, measure, &lines, top), HEIGHT),
        Shape::Bars => {
            let bars: usize = lines.iter().map(|line| line.figures.len()).sum();
            #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
            let height = TOP + BAR * bars as f64;
            (draw_bars(&places, measure, &lines, top), height)
        }
    };
    let mut figure = format!(
        "<figure>\n<figcaption>{} <span class=\"hint\">{}; {}</span></figcaption>\n",
        escape(plot.title),
        measure.unit.axis(),
        measure.better.words()
    );
    if plot.shape == Shape::Lines {
        figure += "<ul class=\"legend\">";
        for line in &lines {
            let title = escape(line.entry.title);
            // Writing to a String does not fail.
            let _ = write!(figure, "<li class=\"{}\">{title}</li>", line.class);
        }
        figure += "</ul>\n";
    }
    let _ = write!(
        figure,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n{drawing}</svg>\n\
         </figure>\n",
        escape(plot.title)
    );
    Some(figure)
}

/// The places that anybody has a figure at.
fn places(plot: &Plot, scenario: &Scenario, results: &Results) -> Vec<Point> {
    let filled = |point: &&Point| {
        scenario
            .contenders
            .iter()
            .any(|entry| results.medians.contains_key(&series_name(point.measure, entry.name)))
    };
    plot.points.iter().filter(filled).copied().collect()
}

/// The contenders that have figures, each with a colour of its origin.
fn lines(places: &[Point], scenario: &'static Scenario, results: &Results) -> Vec<Line> {
    let mut seen = [0; 3];
    let mut lines = Vec::new();
    for entry in scenario.contenders {
        let (kind, count) = match entry.origin {
            Origin::Ours => ("ours", &mut seen[0]),
            Origin::Peer => ("peer", &mut seen[1]),
            Origin::Limit => ("limit", &mut seen[2]),
        };
        let figures = places.iter().enumerate().filter_map(|(place, point)| {
            let name = series_name(point.measure, entry.name);
            let value = *results.medians.get(&name)?;
            let [least, greatest] = results.spread.get(&name).copied().unwrap_or([value; 2]);
            Some(Figure { place, value, least, greatest })
        });
        let figures: Vec<_> = figures.collect();
        if !figures.is_empty() {
            lines.push(Line { entry, class: format!("{kind}-{count}"), figures });
            *count += 1;
        }
    }
    lines
}

/// The end of an axis that a figure fits on, and the distance of its marks: 1, 2 or 5 times a
/// power of ten.
fn scale(most: f64) -> Option<Scale> {
    if !(most.is_finite() && most > 0.0) {
        return None;
    }
    let rough = most / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| *step >= rough)?;
    Some(Scale { step, end: (most / step).ceil() * step })
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    step: f64,
    end: f64,
}

impl Scale {
    fn marks(self) -> impl Iterator<Item = f64> {
        #[expect(clippy::cast_sign_loss, reason = "both are positive")]
        let count = (self.end / self.step).round() as u32;
        (0..=count).map(move |n| f64::from(n) * self.step)
    }
}

fn draw_lines(
    places: &[Point],
    axis: &str,
    measure: &Measure,
    lines: &[Line],
    scale: Scale,
) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a handful of places")]
    let x =
        |place: usize| LEFT + (WIDTH - LEFT - RIGHT) * (place as f64 + 0.5) / places.len() as f64;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / scale.end;
    let mut svg = String::new();
    for mark in scale.marks() {
        let (at, right) = (y(mark), WIDTH - RIGHT);
        let label = measure.unit.mark(mark);
        // Writing to a String does not fail.
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (place, point) in places.iter().enumerate() {
        let label = escape(point.label);
        let at = HEIGHT - BOTTOM + 20.0;
        let _ =
            writeln!(svg, "<text class=\"middle\" x=\"{:.1}\" y=\"{at}\">{label}</text>", x(place));
    }
    let axis = escape(axis);
    let (middle, bottom) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 8.0);
    let _ =
        writeln!(svg, "<text class=\"middle hint\" x=\"{middle}\" y=\"{bottom}\">{axis}</text>");
    for Line { class, figures, entry } in lines {
        let path: Vec<_> = figures
            .iter()
            .map(|figure| format!("{:.1},{:.1}", x(figure.place), y(figure.value)))
            .collect();
        let _ = writeln!(svg, "<g class=\"{class}\"><polyline points=\"{}\"/>", path.join(" "));
        for figure in figures {
            let (at, value) = (x(figure.place), measure.unit.show(figure.value));
            let _ = writeln!(
                svg,
                "<line class=\"whisker\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}: {value}</title></circle>",
                y(figure.least),
                y(figure.greatest),
                y(figure.value),
                escape(entry.title),
            );
        }
        svg += "</g>\n";
    }
    svg
}

fn draw_bars(places: &[Point], measure: &Measure, lines: &[Line], scale: Scale) -> String {
    let x = |value: f64| NAMES + (WIDTH - NAMES - FIGURES) * value / scale.end;
    let mut svg = String::new();
    let mut top = TOP;
    for (place, point) in places.iter().enumerate() {
        for Line { entry, class, figures } in lines {
            let Some(figure) = figures.iter().find(|figure| figure.place == place) else {
                continue;
            };
            let name = if places.len() > 1 {
                format!("{}, {}", entry.title, point.label)
            } else {
                entry.title.to_owned()
            };
            let middle = top + 9.0;
            // Writing to a String does not fail.
            let _ = writeln!(
                svg,
                "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text><g class=\"{class}\">\
                 <rect x=\"{NAMES}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>\
                 <line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" \
                 y2=\"{middle:.1}\"/></g><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                NAMES - 10.0,
                middle + 4.0,
                escape(&name),
                x(figure.value) - NAMES,
                x(figure.least),
                x(figure.greatest),
                x(figure.greatest) + 8.0,
                middle + 4.0,
                measure.unit.show(figure.value),
            );
            top += BAR;
        }
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;
    use crate::bench::scenarios;

    #[test]
    fn an_axis_ends_at_a_round_number_that_everything_fits_below() {
        for (most, step, end) in
            [(3.57, 1.0, 4.0), (0.95, 0.5, 1.0), (285_000.0, 100_000.0, 300_000.0), (4.0, 1.0, 4.0)]
        {
            assert_eq!(scale(most), Some(Scale { step, end }), "{most}");
        }
        for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(scale(nothing), None);
        }
    }

    #[test]
    fn every_contender_with_figures_is_drawn_and_no_other() {
        let nat = scenarios::ALL.iter().find(|it| it.name == "nat").unwrap();
        let svg = render(&nat.plots[0], nat, &results()).unwrap();
        for title in ["nftables masquerade", "Halfspace NAT, XDP", "bare XDP redirect"] {
            assert!(svg.contains(title), "{svg}");
        }
        assert!(!svg.contains("Halfspace NAT, tc"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 4);
        assert_eq!(svg.matches("<polyline").count(), 3);
        // Places without figures are left out.
        assert!(svg.contains(">50k</text>") && !svg.contains(">200k</text>"), "{svg}");
        // Nothing is drawn outside.
        let ends = svg.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        for y in ends.map(|y| y.parse::<f64>().unwrap()) {
            assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
        }
    }

    #[test]
    fn without_figures_there_is_no_plot() {
        let chain = scenarios::ALL.iter().find(|it| it.name == "chain").unwrap();
        assert_eq!(render(&chain.plots[0], chain, &results()), None);
    }
}
