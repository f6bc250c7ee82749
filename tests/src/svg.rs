//! A terminal's screen as an SVG picture.
//!
//! It draws a dark background of its own, so that it reads on any page, and pins every word to its
//! columns, so that no viewer's font can shift it.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// Width of a character's cell.
const WIDTH: f32 = 8.4;
/// Height of one.
const HEIGHT: f32 = 18.0;
/// From a cell's top to the line that letters stand on.
const BASELINE: f32 = 13.5;
/// Between the cells and the edge.
const MARGIN: f32 = 14.0;

const BACKGROUND: &str = "#171b22";
const FOREGROUND: &str = "#d7dce3";
/// Behind the character that the cursor is on.
const CURSOR: &str = "#5b6577";

/// The sixteen ANSI colours, light enough for the background.
const PALETTE: [&str; 16] = [
    "#3b4252", "#f2777a", "#99cc99", "#ffcc66", "#7aa6f0", "#cc99cc", "#66cccc", "#d7dce3",
    "#7f8794", "#ff8a8d", "#b1e0b1", "#ffe0a0", "#9bbef7", "#deb3de", "#8ce0e0", "#ffffff",
];

/// How a run of cells looks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    fill: String,
    behind: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

/// Neighbouring cells of one row that look the same: a word, or blanks.
#[derive(Debug)]
struct Run {
    column: u16,
    columns: u16,
    text: String,
    look: Look,
}

/// Draws the screen.
#[must_use]
pub fn draw(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let width = f32::from(columns.get()) * WIDTH + 2.0 * MARGIN;
    let height = f32::from(rows.get()) * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14\" \
         fill=\"{FOREGROUND}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    if !screen.hide_cursor() {
        rectangle(&mut svg, screen.cursor_position(), 1, CURSOR);
    }
    for row in 0..rows.get() {
        for run in runs(screen, row, columns.get()) {
            run.draw(&mut svg, row);
        }
    }
    svg + "</svg>\n"
}

/// A row's runs.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column) else {
            continue;
        };
        if cell.is_wide_continuation() {
            continue;
        }
        let (text, look) = (cell.contents(), look(cell));
        let columns = 1 + u16::from(cell.is_wide());
        match runs.last_mut() {
            Some(run) if run.look == look && blank(&run.text) == blank(text) => {
                run.text.push_str(text);
                run.columns += columns;
            }
            _ => runs.push(Run {
                column,
                columns,
                text: text.to_owned(),
                look,
            }),
        }
    }
    runs
}

fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

impl Run {
    fn draw(&self, svg: &mut String, row: u16) {
        if let Some(behind) = &self.look.behind {
            rectangle(svg, (row, self.column), self.columns, behind);
        }
        if blank(&self.text) {
            return;
        }
        let (x, y) = (left(self.column), top(row) + BASELINE);
        let length = f32::from(self.columns) * WIDTH;
        let (style, text) = (self.look.attributes(), escaped(&self.text));
        line(
            svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{style}>{text}</text>"
            ),
        );
    }
}

impl Look {
    fn attributes(&self) -> String {
        let mut all = String::new();
        if self.fill != FOREGROUND {
            all += &format!(" fill=\"{}\"", self.fill);
        }
        let others = [
            (self.bold, " font-weight=\"bold\""),
            (self.dim, " opacity=\".6\""),
            (self.italic, " font-style=\"italic\""),
            (self.underline, " text-decoration=\"underline\""),
        ];
        others
            .iter()
            .filter(|(has, _)| *has)
            .fold(all, |all, (_, attribute)| all + attribute)
    }
}

fn look(cell: &Cell) -> Look {
    let fore = colour(cell.fgcolor()).unwrap_or_else(|| FOREGROUND.to_owned());
    let back = colour(cell.bgcolor());
    let (fill, behind) = if cell.inverse() {
        (back.unwrap_or_else(|| BACKGROUND.to_owned()), Some(fore))
    } else {
        (fore, back)
    };
    Look {
        fill,
        behind,
        bold: cell.bold(),
        dim: cell.dim(),
        italic: cell.italic(),
        underline: cell.underline(),
    }
}

fn colour(colour: Color) -> Option<String> {
    match colour {
        Color::Default => None,
        Color::Idx(index) => PALETTE.get(usize::from(index)).map(|&hex| hex.to_owned()),
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

fn rectangle(svg: &mut String, (row, column): (u16, u16), columns: u16, fill: &str) {
    let (x, y) = (left(column), top(row));
    let width = f32::from(columns) * WIDTH;
    line(
        svg,
        format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{HEIGHT:.0}\" fill=\"{fill}\"/>"
        ),
    );
}

fn left(column: u16) -> f32 {
    MARGIN + f32::from(column) * WIDTH
}

fn top(row: u16) -> f32 {
    MARGIN + f32::from(row) * HEIGHT
}

fn line(svg: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(svg, "{what}").expect("a string takes everything");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    /// The lines that draw this output, without the frame around all of them.
    fn drawn(output: &str) -> Vec<String> {
        let size = |count| NonZero::new(count).expect("not 0");
        let mut parser = vt100::Parser::new(size(2), size(20), 0);
        parser.process(output.as_bytes());
        parser.process(b"\x1b[?25l");
        let svg = draw(parser.screen());
        let lines = svg.lines().skip(2).filter(|line| *line != "</svg>");
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn words_keep_their_columns_and_their_look() {
        let table: [(&str, &[&str]); 5] = [
            ("", &[]),
            (
                "a <b",
                &[
                    "<text x=\"14.0\" y=\"27.5\" textLength=\"8.4\">a</text>",
                    "<text x=\"30.8\" y=\"27.5\" textLength=\"16.8\">&lt;b</text>",
                ],
            ),
            (
                "\x1b[31mno\x1b[0myes",
                &[
                    "<text x=\"14.0\" y=\"27.5\" textLength=\"16.8\" fill=\"#f2777a\">no</text>",
                    "<text x=\"30.8\" y=\"27.5\" textLength=\"25.2\">yes</text>",
                ],
            ),
            (
                "\r\n\x1b[1;3m語\x1b[0m!",
                &[
                    "<text x=\"14.0\" y=\"45.5\" textLength=\"16.8\" font-weight=\"bold\" font-style=\"italic\">語</text>",
                    "<text x=\"30.8\" y=\"45.5\" textLength=\"8.4\">!</text>",
                ],
            ),
            (
                "\x1b[7mx\x1b[0m",
                &[
                    "<rect x=\"14.0\" y=\"14.0\" width=\"8.4\" height=\"18\" fill=\"#d7dce3\"/>",
                    "<text x=\"14.0\" y=\"27.5\" textLength=\"8.4\" fill=\"#171b22\">x</text>",
                ],
            ),
        ];
        for (output, want) in table {
            assert_eq!(drawn(output), want, "for {output:?}");
        }
    }

    #[test]
    fn the_cursor_is_drawn_where_it_stands() {
        let mut parser = vt100::Parser::default();
        parser.process(b"ab");
        let svg = draw(parser.screen());
        assert!(svg.contains("<rect x=\"30.8\" y=\"14.0\" width=\"8.4\""));
    }
}
