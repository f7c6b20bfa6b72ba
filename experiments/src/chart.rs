//! Figures, drawn from tables so that their numbers are the same.
//!
//! | function | of a table | shows |
//! | --- | --- | --- |
//! | [`forest`] | a group a row, or a group and who a row | figures with their intervals, and the numbers |
//! | [`lines`] | a place on the axis a row | lines in bands |
//! | [`scatter`] | a point a row | one figure against another |
//! | [`heat`] | a matrix | cells with their numbers |
//! | [`histogram`] | a bin a row | bars |
//!
//! A column's name is its axis' label, so it has its unit in it. The drawing is [`kisim::plot`]'s.

use anyhow::{Result, anyhow};
use kisim::plot::{
    Curve, CurvePanel, CurvePoint, CurvesPlot, ForestGroup, ForestPlot, ForestValue, HeatPlot, HistogramPanel,
    HistogramPlot, ScatterPlot, ScatterPoint, ScatterSeries,
};

use crate::experiment::{Entry, Figure, Table};

/// What every figure has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame<'a> {
    /// The figure's name, see [`Figure::name`].
    pub name: &'a str,
    /// What stands above the drawing.
    pub title: &'a str,
    /// A sentence in small type under it.
    pub note: &'a str,
    /// See [`Figure::caption`].
    pub caption: &'a str,
}

/// Where a table has the series of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Series<'a> {
    /// Each of these columns is one.
    Columns(&'a [&'a str]),
    /// One for each text in `by`; their values are in the column `value`.
    By {
        /// The column that says whose a row is.
        by: &'a str,
        /// The column of the values.
        value: &'a str,
    },
}

/// An axis of values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Axis<'a> {
    /// What it shows, with its unit; the column's name where it is empty.
    pub label: &'a str,
    /// Whether it is logarithmic.
    pub log: bool,
}

/// Figures with their intervals, a row each, under the texts in `group`; with `level`, a value to compare with and its name.
///
/// # Errors
/// If a column is missing.
pub fn forest(
    table: &Table,
    frame: &Frame<'_>,
    group: &str,
    series: Series<'_>,
    axis: Axis<'_>,
    level: Option<(f64, &str)>,
) -> Result<Figure> {
    let (names, values) = resolved(table, series)?;
    let label = axis_label(axis, series);
    let at = column(table, group)?;
    let mut groups: Vec<ForestGroup> = Vec::new();
    for (row, values) in table.rows.iter().zip(values) {
        let name = text(&row[at]);
        let place = match groups.iter().position(|group| group.name == name) {
            Some(place) => place,
            None => {
                groups.push(ForestGroup { name, values: vec![None; names.len()] });
                groups.len() - 1
            }
        };
        for (series, entry) in values {
            groups[place].values[series] = forest_value(entry);
        }
    }
    let plot = ForestPlot {
        title: frame.title.to_owned(),
        note: frame.note.to_owned(),
        x_label: label,
        log: axis.log,
        series: names,
        groups,
        level: level.map(|(at, name)| (at, name.to_owned())),
    };
    Ok(figure(table, frame, kisim::plot::forest(&plot)?))
}

/// A pair of axes of a figure of lines.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// Its title.
    pub title: &'a str,
    /// The lines.
    pub series: Series<'a>,
    /// The vertical axis.
    pub axis: Axis<'a>,
    /// A value to compare with, and its name.
    pub level: Option<(f64, &'a str)>,
}

/// Lines over the numbers in `along`, in the bands of their intervals; panels are under each other.
///
/// # Errors
/// If a column is missing.
pub fn lines(table: &Table, frame: &Frame<'_>, along: &str, panels: &[Lines<'_>]) -> Result<Figure> {
    let at = column(table, along)?;
    let panel = |own: &Lines<'_>| -> Result<CurvePanel> {
        let (names, values) = resolved(table, own.series)?;
        let mut curves: Vec<Curve> = names.into_iter().map(|name| Curve { name, ..Curve::default() }).collect();
        for (row, values) in table.rows.iter().zip(values) {
            let Some(x) = row[at].point() else { continue };
            for (series, entry) in values {
                let Some(value) = entry.point() else { continue };
                let interval = entry.interval().map(|i| (i.low, i.high));
                curves[series].points.push(CurvePoint { x, value, interval });
            }
        }
        curves.retain(|curve| !curve.points.is_empty());
        Ok(CurvePanel {
            title: own.title.to_owned(),
            y_label: axis_label(own.axis, own.series),
            log: own.axis.log,
            curves,
            level: own.level.map(|(at, name)| (at, name.to_owned())),
        })
    };
    let plot = CurvesPlot {
        title: frame.title.to_owned(),
        note: frame.note.to_owned(),
        x_label: along.to_owned(),
        panels: panels.iter().map(panel).collect::<Result<_>>()?,
    };
    Ok(figure(table, frame, kisim::plot::curves(&plot)?))
}

/// What a figure of points shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scatter<'a> {
    /// The column along, and whether its axis is logarithmic.
    pub x: (&'a str, bool),
    /// The column up.
    pub y: (&'a str, bool),
    /// The column that says whose a point is.
    pub by: &'a str,
    /// Whether neighbours of the same are joined.
    pub joined: bool,
    /// Whether to draw where both are the same.
    pub diagonal: bool,
}

/// One figure against another, a point a row.
///
/// # Errors
/// If a column is missing.
pub fn scatter(table: &Table, frame: &Frame<'_>, what: Scatter<'_>) -> Result<Figure> {
    let (x, y, by) = (column(table, what.x.0)?, column(table, what.y.0)?, column(table, what.by)?);
    let mut series: Vec<ScatterSeries> = Vec::new();
    for row in &table.rows {
        let name = text(&row[by]);
        let place = match series.iter().position(|series| series.name == name) {
            Some(place) => place,
            None => {
                series.push(ScatterSeries { name, points: Vec::new(), joined: what.joined });
                series.len() - 1
            }
        };
        let interval = |entry: &Entry| entry.interval().map(|i| (i.low, i.high));
        if let (Some(along), Some(up)) = (row[x].point(), row[y].point()) {
            let (x_interval, y_interval) = (interval(&row[x]), interval(&row[y]));
            series[place].points.push(ScatterPoint { x: along, y: up, x_interval, y_interval });
        }
    }
    let plot = ScatterPlot {
        title: frame.title.to_owned(),
        note: frame.note.to_owned(),
        x_label: what.x.0.to_owned(),
        y_label: what.y.0.to_owned(),
        x_log: what.x.1,
        y_log: what.y.1,
        series,
        diagonal: what.diagonal,
    };
    Ok(figure(table, frame, kisim::plot::scatter(&plot)?))
}

/// A matrix: the texts in `rows` from above, and `columns` beside each other. `label` is what columns are.
///
/// # Errors
/// If a column is missing.
pub fn heat(table: &Table, frame: &Frame<'_>, rows: &str, columns: &[&str], label: &str) -> Result<Figure> {
    let at = column(table, rows)?;
    let (names, values) = resolved(table, Series::Columns(columns))?;
    let cells = values.into_iter().map(|row| {
        row.into_iter().map(|(_, entry)| entry.point().map(|point| (point, kisim::report::number(point)))).collect()
    });
    let plot = HeatPlot {
        title: frame.title.to_owned(),
        note: frame.note.to_owned(),
        y_label: rows.to_owned(),
        x_label: label.to_owned(),
        rows: table.rows.iter().map(|row| text(&row[at])).collect(),
        columns: names,
        cells: cells.collect(),
    };
    Ok(figure(table, frame, kisim::plot::heat(&plot)?))
}

/// Bars between the numbers in the columns `bins`, a panel for each of `columns`. `label` is what is distributed.
///
/// # Errors
/// If a column is missing.
pub fn histogram(
    table: &Table,
    frame: &Frame<'_>,
    bins: (&str, &str),
    columns: &[&str],
    label: &str,
    heights: &str,
) -> Result<Figure> {
    let (from, to) = (column(table, bins.0)?, column(table, bins.1)?);
    let number = |entry: &Entry| entry.point().unwrap_or(f64::NAN);
    let panel = |name: &&str| -> Result<HistogramPanel> {
        let at = column(table, name)?;
        let heights = table.rows.iter().map(|row| number(&row[at])).collect();
        Ok(HistogramPanel { title: (*name).to_owned(), heights })
    };
    let plot = HistogramPlot {
        title: frame.title.to_owned(),
        note: frame.note.to_owned(),
        x_label: label.to_owned(),
        y_label: heights.to_owned(),
        bins: table.rows.iter().map(|row| (number(&row[from]), number(&row[to]))).collect(),
        panels: columns.iter().map(panel).collect::<Result<_>>()?,
    };
    Ok(figure(table, frame, kisim::plot::histogram(&plot)?))
}

fn figure(table: &Table, frame: &Frame<'_>, svg: String) -> Figure {
    Figure { name: frame.name.to_owned(), caption: frame.caption.to_owned(), svg, table: table.name.clone() }
}

/// Where the table has its column `name`.
fn column(table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column == name).ok_or_else(|| {
        anyhow!("table {}: found no column {name:?}, expected one of {}", table.name, table.columns.join(", "))
    })
}

/// Names of the series, and of each row the entries by series.
#[expect(clippy::type_complexity, reason = "it is what it says")]
fn resolved<'t>(table: &'t Table, series: Series<'_>) -> Result<(Vec<String>, Vec<Vec<(usize, &'t Entry)>>)> {
    match series {
        Series::Columns(columns) => {
            let places: Vec<usize> = columns.iter().map(|name| column(table, name)).collect::<Result<_>>()?;
            let entries = |row: &'t Vec<Entry>| places.iter().enumerate().map(|(n, &at)| (n, &row[at])).collect();
            Ok((columns.iter().map(|name| (*name).to_owned()).collect(), table.rows.iter().map(entries).collect()))
        }
        Series::By { by, value } => {
            let (by, value) = (column(table, by)?, column(table, value)?);
            let mut names: Vec<String> = Vec::new();
            for row in &table.rows {
                let name = text(&row[by]);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let entries = |row: &'t Vec<Entry>| {
                let name = text(&row[by]);
                names.iter().position(|other| *other == name).map(|n| (n, &row[value])).into_iter().collect()
            };
            let rows = table.rows.iter().map(entries).collect();
            Ok((names, rows))
        }
    }
}

fn axis_label(axis: Axis<'_>, series: Series<'_>) -> String {
    match (axis.label, series) {
        ("", Series::By { value, .. }) => value.to_owned(),
        ("", Series::Columns(columns)) => columns.join(", "),
        (label, _) => label.to_owned(),
    }
}

/// A value with its text, as tables print it.
fn forest_value(entry: &Entry) -> Option<ForestValue> {
    let value = entry.point()?;
    Some(ForestValue { value, interval: entry.interval().map(|i| (i.low, i.high)), text: text(entry) })
}

/// An entry as figures say it.
pub fn text(entry: &Entry) -> String {
    let number = kisim::report::number;
    match entry {
        Entry::Text(text) => text.clone(),
        Entry::Number(value) => number(*value),
        Entry::Interval(i) => format!("{} [{}, {}]", number(i.point), number(i.low), number(i.high)),
        Entry::Empty => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use kiscaler_train::statistics::Interval;

    use super::*;

    const FRAME: Frame<'static> = Frame { name: "f", title: "above", note: "small", caption: "c" };

    fn interval(point: f64) -> Entry {
        Entry::Interval(Interval { point, low: point * 0.9, high: point * 1.3 })
    }

    /// Three scenes under two autoscalers, in long and in wide form.
    fn long() -> Table {
        let row =
            |scene: &str, who: &str, value: Entry| vec![Entry::Text(scene.into()), Entry::Text(who.into()), value];
        Table {
            name: "long".into(),
            columns: ["traffic", "autoscaler", "P95, ms"].map(str::to_owned).to_vec(),
            rows: vec![
                row("ramp", "policy", interval(123.0)),
                row("ramp", "hpa", interval(1_234.0)),
                row("spike", "policy", Entry::Number(77.5)),
                row("spike", "hpa", Entry::Empty),
                row("random", "hpa", interval(45.25)),
            ],
            ..Table::default()
        }
    }

    fn wide() -> Table {
        Table {
            name: "wide".into(),
            columns: ["steps", "policy", "hpa"].map(str::to_owned).to_vec(),
            rows: (0..5u32)
                .map(|i| vec![Entry::Number(f64::from(i)), interval(f64::from(i * i)), Entry::Number(2.0)])
                .collect(),
            ..Table::default()
        }
    }

    fn texts(figure: &Figure) -> Vec<String> {
        let document = roxmltree::Document::parse(&figure.svg).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        texts.map(|node| node.text().unwrap_or_default().trim().to_owned()).collect()
    }

    fn assert_all(figure: &Figure, expected: &[&str]) {
        let found = texts(figure);
        for text in expected {
            assert!(found.iter().any(|f| f == text), "{text:?} is not among {found:?}");
        }
    }

    /// Positions of circles, in the drawing's own units.
    fn circles(figure: &Figure) -> Vec<(f64, f64)> {
        let document = roxmltree::Document::parse(&figure.svg).unwrap();
        let at = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let all = document.descendants().filter(|node| node.has_tag_name("circle"));
        all.map(|node| (at(node, "cx"), at(node, "cy"))).collect()
    }

    #[test]
    fn a_forest_has_the_numbers_of_its_table_and_no_others() {
        let table = long();
        let by = Series::By { by: "autoscaler", value: "P95, ms" };
        let figure = forest(&table, &FRAME, "traffic", by, Axis::default(), Some((100.0, "objective"))).unwrap();
        assert_all(&figure, &["above", "small", "P95, ms", "ramp", "spike", "random", "policy", "hpa", "objective"]);
        let printed: Vec<String> = texts(&figure).into_iter().filter(|t| t.contains('[') || t == "77.50").collect();
        let mut expected: Vec<String> =
            table.rows.iter().map(|row| text(&row[2])).filter(|text| !text.is_empty()).collect();
        let mut found = printed;
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!((figure.table.as_str(), figure.name.as_str(), figure.caption.as_str()), ("long", "f", "c"));
    }

    #[test]
    fn markers_stand_where_the_numbers_are() {
        // Two values of the first series: circles, besides the one in the legend. On a linear axis distances are as the numbers.
        let mut table = long();
        table.rows = vec![3.0, 4.0, 10.0]
            .into_iter()
            .map(|v| vec![Entry::Text(format!("scene {v}")), Entry::Text("policy".into()), Entry::Number(v)])
            .collect();
        let by = Series::By { by: "autoscaler", value: "P95, ms" };
        let figure = forest(&table, &FRAME, "traffic", by, Axis::default(), None).unwrap();
        let mut found = circles(&figure);
        found.sort_by(|a, b| a.1.total_cmp(&b.1));
        let x: Vec<f64> = found[1..].iter().map(|c| c.0).collect();
        assert_eq!(x.len(), 3);
        assert!(((x[2] - x[0]) / (x[1] - x[0]) - 7.0).abs() < 0.03, "{x:?}");
        // On a logarithmic one, as their ratios.
        let figure = forest(&table, &FRAME, "traffic", by, Axis { log: true, label: "" }, None).unwrap();
        let mut found = circles(&figure);
        found.sort_by(|a, b| a.1.total_cmp(&b.1));
        let x: Vec<f64> = found[1..].iter().map(|c| c.0).collect();
        let expected = (10.0f64 / 3.0).ln() / (4.0f64 / 3.0).ln();
        assert!(((x[2] - x[0]) / (x[1] - x[0]) - expected).abs() < 0.05, "{x:?}");
    }

    #[test]
    fn lines_heat_scatter_and_histograms_say_what_they_show() {
        let table = wide();
        let own = Lines {
            title: "panel",
            series: Series::Columns(&["policy", "hpa"]),
            axis: Axis { label: "objective", log: false },
            level: Some((3.0, "foresight")),
        };
        let figure = lines(&table, &FRAME, "steps", &[own]).unwrap();
        assert_all(&figure, &["above", "small", "steps", "panel", "policy", "hpa", "objective", "foresight"]);

        let figure = heat(&table, &FRAME, "steps", &["policy", "hpa"], "autoscaler").unwrap();
        assert_all(&figure, &["steps", "autoscaler", "policy", "hpa"]);
        let numbers = texts(&figure).into_iter().filter(|t| *t == kisim::report::number(16.0)).count();
        assert_eq!(numbers, 1);

        let what = Scatter { x: ("steps", false), y: ("policy", false), by: "hpa", ..Scatter::default() };
        let figure = scatter(&table, &FRAME, what).unwrap();
        assert_all(&figure, &["steps", "policy", &text(&Entry::Number(2.0))]);
        assert_eq!(circles(&figure).len(), 5 + 1);

        let figure = histogram(&table, &FRAME, ("steps", "policy"), &["hpa"], "reward", "episodes").unwrap();
        assert_all(&figure, &["hpa", "reward", "episodes"]);
    }

    #[test]
    fn a_column_that_is_not_there_is_named() {
        let error = heat(&wide(), &FRAME, "steps", &["keda"], "").unwrap_err().to_string();
        assert_eq!(error, "table wide: found no column \"keda\", expected one of steps, policy, hpa");
    }
}
