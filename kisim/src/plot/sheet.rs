//! A page of panels under each other: axes, legends and marks, drawn with `plotters`.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::PlotError;
use super::scale::Scale;

/// Width of the page, CSS pixels.
const WIDTH: f64 = 960.0;
/// Drawing units a pixel: `plotters` draws on whole units, which must be finer than a line is wide.
const UNITS: f64 = 4.0;
/// Left of a panel's data: names of the axis and of its ticks.
const LEFT: f64 = 74.0;
/// Right of it.
pub(super) const RIGHT: f64 = 22.0;
const TITLE: f64 = 34.0;
/// Height of the note under the title.
const NOTE: f64 = 16.0;
/// Height of a row of the legend.
const ROW: f64 = 19.0;
/// Between a panel and the legend of the next.
const GAP: f64 = 9.0;
/// Tick labels and name of a horizontal axis.
const X_AXIS: f64 = 38.0;
const FONT: &str = "sans-serif";
/// Offset that tells line styles apart in a stroke width, see [`finish`].
const DASH_CODE: u32 = 10_000;

/// Colours that stay apart for colour-blind readers (Okabe and Ito) and, in this order, in greyscale too.
pub(super) const BLACK: RGBColor = RGBColor(0, 0, 0);
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const PURPLE: RGBColor = RGBColor(204, 121, 167);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(super) const SKY: RGBColor = RGBColor(86, 180, 233);
/// Darker than the rest, for limits.
pub(super) const RED: RGBColor = RGBColor(170, 25, 15);
pub(super) const GREY: RGBColor = RGBColor(120, 120, 120);

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (position - self.lo) / (self.hi - self.lo);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let labelled = self.ticks.iter().map(|tick| tick.0);
        let light = hint.weight().allow_light_points();
        if light { self.minor.clone() } else { labelled.collect() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.lo..self.hi
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, position: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *position);
        tick.map_or(String::new(), |tick| tick.1.clone())
    }
}

/// How a line is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dash {
    Solid,
    Dashed,
    Dotted,
    /// Dash, dot, dash.
    Chain,
    Long,
}

/// Pixels drawn and left out, by [`Dash`].
const DASHES: [&[f64]; 5] = [&[], &[6.0, 3.5], &[1.6, 2.6], &[8.0, 3.0, 1.8, 3.0], &[13.0, 4.0]];

/// A line's looks; its width in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub colour: RGBColor,
    pub width: f64,
    pub dash: Dash,
}

impl Stroke {
    pub const fn new(colour: RGBColor, width: f64, dash: Dash) -> Self {
        Stroke { colour, width, dash }
    }

    fn style(self) -> ShapeStyle {
        let width = units(self.width).max(1) as u32 + DASH_CODE * self.dash as u32;
        ShapeStyle { color: self.colour.to_rgba(), filled: false, stroke_width: width }
    }
}

/// The form of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    /// A circle that is not filled.
    Ring,
    Cross,
}

/// Something drawn in a panel. Coordinates are values; what is nowhere on the axes is left out.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// A line through points, with a marker now and then if it must be told from others.
    Line { points: Vec<(f64, f64)>, stroke: Stroke, marker: Option<Shape> },
    /// The area between two lines: (x, lower, upper).
    Band { edges: Vec<(f64, f64, f64)>, colour: RGBColor, opacity: f64 },
    /// Markers.
    Dots { points: Vec<(f64, f64)>, shape: Shape, colour: RGBColor },
    /// A line through points with a marker on each.
    Joined { points: Vec<(f64, f64)>, stroke: Stroke, shape: Shape },
    /// Thin lines between pairs of points, such as the ends of intervals.
    Bars { ends: Vec<[(f64, f64); 2]>, colour: RGBColor },
    /// A horizontal line across the panel.
    Level { at: f64, stroke: Stroke },
    /// A vertical line across the panel.
    Upright { at: f64, stroke: Stroke },
    /// A filled box, with a text in its middle that is white on a dark one.
    Box { corners: [(f64, f64); 2], colour: RGBColor, text: String },
    /// Texts beside the panel, each at a height.
    Beside { texts: Vec<(f64, String)> },
}

impl Mark {
    fn is_empty(&self, x: &Scale, y: &Scale) -> bool {
        let shown = |&(a, b): &(f64, f64)| x.at(a).is_some() && y.at(b).is_some();
        match self {
            Mark::Line { points, .. } | Mark::Dots { points, .. } | Mark::Joined { points, .. } => {
                !points.iter().any(shown)
            }
            Mark::Bars { ends, .. } => !ends.iter().any(|pair| pair.iter().all(shown)),
            Mark::Band { edges, .. } => !edges.iter().any(|&(a, _, b)| shown(&(a, b))),
            Mark::Box { corners, .. } => !corners.iter().all(shown),
            Mark::Level { .. } | Mark::Upright { .. } | Mark::Beside { .. } => true,
        }
    }
}

/// A pair of axes and what is drawn on them.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub title: String,
    pub x: Scale,
    pub y: Scale,
    /// Whether the horizontal axis has texts; a panel above one with the same axis needs none.
    pub x_texts: bool,
    /// Height of the data area, pixels.
    pub height: f64,
    /// Room left and right of the data area, pixels.
    pub margins: (f64, f64),
    /// In drawing order, with the name in the legend.
    pub marks: Vec<(Mark, Option<String>)>,
}

impl Panel {
    pub fn new(title: impl Into<String>, x: &Scale, y: Scale, height: f64) -> Self {
        let margins = (LEFT, RIGHT);
        Panel { title: title.into(), x: x.clone(), y, x_texts: false, height, margins, marks: Vec::new() }
    }

    pub fn add(&mut self, mark: Mark, name: impl Into<String>) {
        let name: String = name.into();
        self.marks.push((mark, Some(name).filter(|name| !name.is_empty())));
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, stroke: Stroke, name: impl Into<String>) {
        self.add(Mark::Line { points, stroke, marker: None }, name);
    }

    /// Names in the legend, row by row, each with its left edge in pixels. The title stands left of the first row.
    fn legend(&self) -> Vec<Vec<(f64, usize)>> {
        let wide = |i: usize| SWATCH + 6.0 + self.marks[i].1.as_deref().map_or(0.0, |n| text_width(n, 11.0)) + 16.0;
        let named: Vec<usize> = (0..self.marks.len()).filter(|&i| self.marks[i].1.is_some()).collect();
        let mut room = WIDTH - LEFT - RIGHT - text_width(&self.title, 12.5) - 16.0;
        let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
        for i in named {
            if wide(i) > room && (!rows[rows.len() - 1].is_empty() || rows.len() == 1) {
                rows.push(Vec::new());
                room = WIDTH - LEFT - RIGHT;
            }
            room -= wide(i);
            let last = rows.len() - 1;
            rows[last].push(i);
        }
        let place = |row: Vec<usize>| {
            let mut at = (WIDTH - RIGHT + 16.0 - row.iter().map(|&i| wide(i)).sum::<f64>()).max(LEFT);
            row.into_iter()
                .map(|i| {
                    let left = at;
                    at += wide(i);
                    (left, i)
                })
                .collect()
        };
        rows.into_iter().map(place).collect()
    }
}

/// Width of a legend's sample, pixels.
const SWATCH: f64 = 34.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> PlotError {
    PlotError::Draw(error.to_string())
}

/// About how wide `text` is at `size` pixels: no font is at hand that could tell.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | '\'' | '|' => 0.3,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '-' | '/' => 0.4,
        'm' | 'w' | 'M' | 'W' | '%' => 0.92,
        c if c.is_uppercase() => 0.76,
        c if c.is_ascii() => 0.63,
        _ => 0.8,
    };
    text.chars().map(em).sum::<f64>() * size
}

fn font(size: f64, style: FontStyle) -> TextStyle<'static> {
    // The SVG backend divides sizes by 1.24.
    TextStyle::from((FONT, size * UNITS * 1.24, style).into_font())
}

/// `text` without the characters that XML cannot hold.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

/// Draws `panels` under a `title` and, if there is something to note, a `note` in small type.
pub(super) fn draw(title: &str, note: &str, panels: &[Panel]) -> Result<String, PlotError> {
    let legends: Vec<_> = panels.iter().map(Panel::legend).collect();
    let below = |panel: &Panel| if panel.x_texts { X_AXIS } else { 0.0 } + GAP;
    let tall = |(panel, rows): (&Panel, &Vec<_>)| rows.len() as f64 * ROW + panel.height + below(panel);
    let head = TITLE + if note.is_empty() { 0.0 } else { NOTE };
    let height = head + panels.iter().zip(&legends).map(tall).sum::<f64>();
    let size = (units(WIDTH) as u32, units(height) as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        write(&root, title, (WIDTH / 2.0, TITLE / 2.0), HPos::Center, font(15.0, FontStyle::Bold))?;
        write(&root, note, (WIDTH / 2.0, TITLE + NOTE / 2.0 - 4.0), HPos::Center, font(11.0, FontStyle::Normal))?;
        let mut top = head;
        for (panel, rows) in panels.iter().zip(&legends) {
            write(&root, &panel.title, (LEFT, top + ROW / 2.0), HPos::Left, font(12.5, FontStyle::Bold))?;
            for row in rows {
                for &(left, i) in row {
                    sample(&root, &panel.marks[i].0, (left, top + ROW / 2.0))?;
                    let name = panel.marks[i].1.as_deref().unwrap_or_default();
                    let at = (left + SWATCH + 6.0, top + ROW / 2.0);
                    write(&root, name, at, HPos::Left, font(11.0, FontStyle::Normal))?;
                }
                top += ROW;
            }
            fill(&root, panel, top)?;
            top += panel.height + below(panel);
        }
        root.present().map_err(failed)?;
    }
    Ok(finish(&svg, height))
}

fn write(
    root: &Area<'_>,
    text: &str,
    (x, y): (f64, f64),
    side: HPos,
    style: TextStyle<'static>,
) -> Result<(), PlotError> {
    let text = clean(text);
    if text.is_empty() {
        return Ok(());
    }
    root.draw_text(&text, &style.pos(Pos::new(side, VPos::Center)), (units(x), units(y))).map_err(failed)
}

/// Looks of [`Mark::Bars`].
fn bar_style(colour: RGBColor) -> ShapeStyle {
    ShapeStyle { color: colour.mix(0.55), ..Stroke::new(colour, 0.8, Dash::Solid).style() }
}

/// A mark as it looks in the legend.
fn sample(root: &Area<'_>, mark: &Mark, (left, middle): (f64, f64)) -> Result<(), PlotError> {
    let (from, to, y) = (units(left), units(left + SWATCH), units(middle));
    match mark {
        Mark::Line { stroke, marker, .. } => {
            root.draw(&PathElement::new(vec![(from, y), (to, y)], stroke.style())).map_err(failed)?;
            marker.map_or(Ok(()), |shape| draw_marker(root, shape, ((from + to) / 2, y), stroke.colour))
        }
        Mark::Joined { stroke, shape, .. } => {
            root.draw(&PathElement::new(vec![(from, y), (to, y)], stroke.style())).map_err(failed)?;
            draw_marker(root, *shape, ((from + to) / 2, y), stroke.colour)
        }
        Mark::Level { stroke, .. } | Mark::Upright { stroke, .. } => {
            root.draw(&PathElement::new(vec![(from, y), (to, y)], stroke.style())).map_err(failed)
        }
        Mark::Bars { colour, .. } => {
            root.draw(&PathElement::new(vec![(from, y), (to, y)], bar_style(*colour))).map_err(failed)
        }
        Mark::Band { colour, opacity, .. } => {
            let half = units(5.0);
            root.draw(&Rectangle::new([(from, y - half), (to, y + half)], colour.mix(*opacity).filled()))
                .map_err(failed)
        }
        Mark::Box { colour, .. } => {
            let half = units(5.0);
            root.draw(&Rectangle::new([(from, y - half), (to, y + half)], colour.filled())).map_err(failed)
        }
        Mark::Dots { shape, colour, .. } => draw_marker(root, *shape, ((from + to) / 2, y), *colour),
        Mark::Beside { .. } => Ok(()),
    }
}

fn draw_marker(root: &Area<'_>, shape: Shape, (x, y): (i32, i32), colour: RGBColor) -> Result<(), PlotError> {
    let r = units(3.4);
    let outline = Stroke::new(colour, 1.5, Dash::Solid).style();
    let polygon = |corners: &[(i32, i32)]| {
        let corners: Vec<_> = corners.iter().map(|&(dx, dy)| (x + dx, y + dy)).collect();
        root.draw(&Polygon::new(corners, colour.filled()))
    };
    match shape {
        Shape::Circle => root.draw(&Circle::new((x, y), r, colour.filled())),
        Shape::Ring => root
            .draw(&Circle::new((x, y), r, WHITE.filled()))
            .and_then(|()| root.draw(&Circle::new((x, y), r, outline))),
        Shape::Square => polygon(&[(-r, -r), (r, -r), (r, r), (-r, r)]),
        Shape::Triangle => polygon(&[(0, -r * 5 / 4), (r * 5 / 4, r), (-r * 5 / 4, r)]),
        Shape::Diamond => polygon(&[(0, -r * 3 / 2), (r * 3 / 2, 0), (0, r * 3 / 2), (-r * 3 / 2, 0)]),
        Shape::Cross => root
            .draw(&PathElement::new(vec![(x - r, y - r), (x + r, y + r)], outline))
            .and_then(|()| root.draw(&PathElement::new(vec![(x - r, y + r), (x + r, y - r)], outline))),
    }
    .map_err(failed)
}

/// Axes and data of a panel whose data area starts `top` pixels down the page.
fn fill(root: &Area<'_>, panel: &Panel, top: f64) -> Result<(), PlotError> {
    let (x, y) = (&panel.x, &panel.y);
    let below = if panel.x_texts { X_AXIS } else { 0.0 };
    let (left, right) = (panel.margins.0, WIDTH - panel.margins.1);
    let cut = root.clone().shrink((0, units(top)), (units(WIDTH) as u32, units(panel.height + below) as u32));
    let mut chart = ChartBuilder::on(&cut)
        .margin_right(units(panel.margins.1))
        .y_label_area_size(units(left))
        .x_label_area_size(units(below))
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(failed)?;
    let grid = |grey: u8| ShapeStyle { color: RGBColor(grey, grey, grey).into(), filled: false, stroke_width: 2 };
    chart
        .configure_mesh()
        .axis_style(ShapeStyle { color: BLACK.into(), filled: false, stroke_width: 3 })
        .bold_line_style(grid(214))
        .light_line_style(grid(238))
        .label_style(font(11.0, FontStyle::Normal))
        .set_all_tick_mark_size(units(3.5))
        .draw()
        .map_err(failed)?;
    // The names of the axes are placed by hand: without fonts, plotters puts them half off the page.
    let turned = font(11.0, FontStyle::Normal).transform(FontTransform::Rotate270);
    write(root, &y.label, (11.0, top + panel.height / 2.0), HPos::Center, turned)?;
    if panel.x_texts {
        let below = ((left + right) / 2.0, top + panel.height + 29.0);
        write(root, &x.label, below, HPos::Center, font(11.0, FontStyle::Normal))?;
    }
    let at = |px: f64, py: f64| Some(chart.plotting_area().map_coordinate(&(x.at(px)?, y.at(py)?)));
    for (mark, _) in &panel.marks {
        match mark {
            Mark::Line { points, stroke, marker } => line(root, points, *stroke, *marker, &at)?,
            Mark::Band { edges, colour, opacity } => band(root, edges, colour.mix(*opacity).filled(), &at)?,
            Mark::Dots { points, shape, colour } => {
                for place in points.iter().filter_map(|&(px, py)| at(px, py)) {
                    draw_marker(root, *shape, place, *colour)?;
                }
            }
            Mark::Joined { points, stroke, shape } => {
                line(root, points, *stroke, None, &at)?;
                for place in points.iter().filter_map(|&(px, py)| at(px, py)) {
                    draw_marker(root, *shape, place, stroke.colour)?;
                }
            }
            Mark::Bars { ends, colour } => {
                for &[from, to] in ends {
                    if let (Some(from), Some(to)) = (at(from.0, from.1), at(to.0, to.1))
                        && from != to
                    {
                        root.draw(&PathElement::new(vec![from, to], bar_style(*colour))).map_err(failed)?;
                    }
                }
            }
            Mark::Upright { at: level, stroke } => {
                let ends = chart.plotting_area().get_pixel_range();
                if let Some(place) = x.at(*level) {
                    let (px, _) = chart.plotting_area().map_coordinate(&(place, y.lo));
                    let path = vec![(px, ends.1.start), (px, ends.1.end)];
                    root.draw(&PathElement::new(path, stroke.style())).map_err(failed)?;
                }
            }
            Mark::Box { corners: [from, to], colour, text } => {
                if let (Some(from), Some(to)) = (at(from.0, from.1), at(to.0, to.1)) {
                    root.draw(&Rectangle::new([from, to], colour.filled())).map_err(failed)?;
                    let middle = (f64::from(from.0 + to.0) / 2.0 / UNITS, f64::from(from.1 + to.1) / 2.0 / UNITS);
                    let ink: &RGBColor = if luminance(*colour) < 0.45 { &WHITE } else { &BLACK };
                    write(root, text, middle, HPos::Center, font(11.0, FontStyle::Normal).color(ink))?;
                }
            }
            Mark::Beside { texts } => {
                for (height, text) in texts {
                    if let Some(position) = y.at(*height) {
                        let (_, py) = chart.plotting_area().map_coordinate(&(x.lo, position));
                        let place = (right + 8.0, f64::from(py) / UNITS);
                        write(root, text, place, HPos::Left, font(10.0, FontStyle::Normal))?;
                    }
                }
            }
            Mark::Level { at: level, stroke } => {
                let ends = chart.plotting_area().get_pixel_range();
                if let Some(height) = y.at(*level) {
                    let (_, py) = chart.plotting_area().map_coordinate(&(x.lo, height));
                    let path = vec![(ends.0.start, py), (ends.0.end, py)];
                    root.draw(&PathElement::new(path, stroke.style())).map_err(failed)?;
                }
            }
        }
    }
    // Again on top of the data, and also where no texts call for an axis.
    let floor = units(top + panel.height);
    let axis = vec![(units(left), floor), (units(right), floor)];
    root.draw(&PathElement::new(axis, Stroke::new(BLACK, 0.75, Dash::Solid).style())).map_err(failed)?;
    if panel.marks.iter().all(|(mark, _)| mark.is_empty(x, y)) {
        let middle = ((left + right) / 2.0, top + panel.height / 2.0);
        write(root, "no data", middle, HPos::Center, font(12.0, FontStyle::Italic))?;
    }
    Ok(())
}

/// How light `colour` is in greyscale: 0 black, 1 white.
fn luminance(colour: RGBColor) -> f64 {
    (0.299 * f64::from(colour.0) + 0.587 * f64::from(colour.1) + 0.114 * f64::from(colour.2)) / 255.0
}

type Pixels = (i32, i32);

fn line(
    root: &Area<'_>,
    points: &[(f64, f64)],
    stroke: Stroke,
    marker: Option<Shape>,
    at: &dyn Fn(f64, f64) -> Option<Pixels>,
) -> Result<(), PlotError> {
    let pixels: Vec<Option<Pixels>> = points.iter().map(|&(x, y)| at(x, y)).collect();
    for run in pixels.split(Option::is_none) {
        let mut path: Vec<Pixels> = run.iter().flatten().copied().collect();
        path.dedup();
        match path[..] {
            [] => {}
            // A value alone between gaps makes no line, but is there all the same.
            [only] => {
                let dot = Circle::new(only, units(stroke.width.max(1.4)), stroke.colour.filled());
                root.draw(&dot).map_err(failed)?;
            }
            _ => root.draw(&PathElement::new(path, stroke.style())).map_err(failed)?,
        }
    }
    let Some(shape) = marker else { return Ok(()) };
    // Markers come at even distances, and elsewhere for each shape, lest equal lines hide each other's.
    let every = units((WIDTH - LEFT - RIGHT) / 10.0);
    let mut next = units(LEFT) + every * (1 + shape as i32) / 7;
    for pair in pixels.windows(2) {
        let [Some(from), Some(to)] = pair else { continue };
        // None is drawn within a gap that it has jumped over.
        next += ((from.0 - next).max(0) + every - 1) / every * every;
        while next <= to.0 {
            let share = f64::from(next - from.0) / f64::from((to.0 - from.0).max(1));
            let y = f64::from(from.1) + share * f64::from(to.1 - from.1);
            draw_marker(root, shape, (next, y.round() as i32), stroke.colour)?;
            next += every;
        }
    }
    Ok(())
}

fn band(
    root: &Area<'_>,
    edges: &[(f64, f64, f64)],
    style: ShapeStyle,
    at: &dyn Fn(f64, f64) -> Option<Pixels>,
) -> Result<(), PlotError> {
    let pixels: Vec<Option<(Pixels, Pixels)>> =
        edges.iter().map(|&(x, low, high)| Some((at(x, low)?, at(x, high)?))).collect();
    for run in pixels.split(Option::is_none) {
        let upper = run.iter().flatten().map(|pair| pair.1);
        let lower = run.iter().flatten().rev().map(|pair| pair.0);
        let mut outline: Vec<Pixels> = upper.chain(lower).collect();
        outline.dedup();
        if outline.len() > 2 {
            root.draw(&Polygon::new(outline, style)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Gives the document its size in pixels and its lines their dashes.
///
/// The SVG backend knows no dashes; `plotters` would draw each as an element of its own, tens of thousands for a noisy
/// line. The line style therefore travels in the thousands of the stroke width, and becomes an attribute here. Texts
/// cannot be mistaken for one: quotation marks in them are escaped.
fn finish(svg: &str, height: f64) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {} {}\" \
         stroke-linejoin=\"round\">",
        units(WIDTH),
        units(height)
    );
    const WIDTH_ATTRIBUTE: &str = "stroke-width=\"";
    for (i, part) in body.split(WIDTH_ATTRIBUTE).enumerate() {
        if i == 0 {
            out.push_str(part);
            continue;
        }
        let (number, rest) = part.split_once('"').unwrap_or((part, ""));
        let coded: u32 = number.parse().unwrap_or(1);
        out.push_str(&format!("{WIDTH_ATTRIBUTE}{}\"", coded % DASH_CODE));
        if let Some(dash @ [_, ..]) = DASHES.get((coded / DASH_CODE) as usize) {
            let lengths: Vec<String> = dash.iter().map(|&pixels| units(pixels).to_string()).collect();
            out.push_str(&format!(" stroke-dasharray=\"{}\"", lengths.join(" ")));
        }
        out.push_str(rest);
    }
    out
}
