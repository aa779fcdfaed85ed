//! Plots, drawn by hand: both axes logarithmic, readable on a light and on a dark page.

use std::fmt::Write as _;

/// A plot of some lines.
#[derive(Debug)]
pub struct Plot {
    pub name: &'static str,
    pub title: &'static str,
    unit: &'static str,
    pub lines: Vec<Line>,
}

/// One line of a plot.
#[derive(Debug)]
pub struct Line {
    pub label: String,
    pub ours: bool,
    pub points: Vec<(f64, f64)>,
}

impl Line {
    pub fn new(label: &str, ours: bool) -> Self {
        Self { label: label.to_owned(), ours, points: Vec::new() }
    }
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 180.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 52.0;

const STYLE: &str = "text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#57606a}\
.title{font-size:16px;font-weight:600;fill:#1f2328}.grid{stroke:#d0d7de;stroke-width:1}\
.line{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}.dash{stroke-dasharray:2 6}\
.ours{stroke:#0969da}.git{stroke:#bc4c00}.dot.ours{fill:#0969da;stroke:none}.dot.git{fill:#bc4c00;stroke:none}\
text.ours{fill:#0969da;stroke:none;font-weight:600}text.git{fill:#bc4c00;stroke:none;font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#f0f6fc}.grid{stroke:#3d444d}\
.ours{stroke:#58a6ff}.git{stroke:#f0883e}.dot.ours{fill:#58a6ff}.dot.git{fill:#f0883e}\
text.ours{fill:#58a6ff}text.git{fill:#f0883e}}";

impl Plot {
    pub fn new(name: &'static str, title: &'static str, unit: &'static str) -> Self {
        Self { name, title, unit, lines: Vec::new() }
    }

    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::over(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::over(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
             <style>{STYLE}</style>\n<text class=\"title\" x=\"{LEFT}\" y=\"24\">{}</text>\n\
             <text x=\"{LEFT}\" y=\"42\">{}</text>\n",
            self.title, self.title, self.unit
        );
        for tick in y.ticks() {
            let (at, right) = (y.place(tick), WIDTH - RIGHT);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                label(tick)
            );
        }
        for tick in x.ticks() {
            let at = x.place(tick);
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 20.0,
                label(tick)
            );
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">MiB of pack</text>", HEIGHT - 12.0);
        for (number, line) in self.lines.iter().enumerate() {
            let class = if line.ours { "ours" } else { "git" };
            // The first pair of lines is drawn through, the second dotted.
            let dash = if number < 2 { "" } else { " dash" };
            let mut path = String::new();
            for (place, point) in line.points.iter().enumerate() {
                let _ = write!(
                    path,
                    "{}{:.1} {:.1}",
                    if place == 0 { 'M' } else { 'L' },
                    x.place(point.0),
                    y.place(point.1)
                );
            }
            let _ = writeln!(svg, "<path class=\"line {class}{dash}\" d=\"{path}\"/>");
            for point in &line.points {
                let _ = write!(
                    svg,
                    "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                    x.place(point.0),
                    y.place(point.1)
                );
            }
            svg.push('\n');
        }
        for (at, line) in self.label_places(&y) {
            let class = if line.ours { "ours" } else { "git" };
            let end = line.points.last().map_or(LEFT, |point| x.place(point.0));
            let _ = writeln!(
                svg,
                "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                end + 10.0,
                at + 4.0,
                line.label
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Each label at the end of its line, moved so that none covers another.
    fn label_places(&self, y: &Axis) -> Vec<(f64, &Line)> {
        let mut places: Vec<_> =
            self.lines.iter().filter_map(|line| Some((y.place(line.points.last()?.1), line))).collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut last = f64::NEG_INFINITY;
        for (at, _) in &mut places {
            *at = at.max(last + 17.0);
            last = *at;
        }
        places
    }
}

/// A logarithmic axis.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        // Room for a little beyond the first and the last.
        Self { least: (least / 1.25).ln(), most: (most * 1.25).ln(), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value.ln() - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    /// Powers of ten, or, on a short axis, their halves and fifths as well.
    fn ticks(&self) -> Vec<f64> {
        let inside = |tick: &f64| (self.least..=self.most).contains(&tick.ln());
        let tens = || (-6..=6).map(|power| 10_f64.powi(power));
        let few: Vec<_> = tens().filter(inside).collect();
        if few.len() >= 4 {
            return few;
        }
        tens().flat_map(|ten| [1.0, 2.0, 5.0].map(|part| part * ten)).filter(inside).collect()
    }
}

fn label(tick: f64) -> String {
    if tick >= 1000.0 { format!("{},{:03.0}", (tick / 1000.0).trunc(), tick % 1000.0) } else { format!("{tick}") }
}
