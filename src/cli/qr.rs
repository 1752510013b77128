//! QR codes on a terminal: two modules to a character, light ones drawn, with colours that hold on any background.

use anstyle::{AnsiColor, Style};
use qrcode::{Color, EcLevel, QrCode};

/// Light modules are the writing, dark ones the paper.
const INK: Style = Style::new()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::BrightWhite)))
    .bg_color(Some(anstyle::Color::Ansi(AnsiColor::Black)));
/// Light modules around the code; ISO/IEC 18004 wants four.
const QUIET: usize = 4;

/// Draws a text as a QR code, or returns `None` if it needs more columns than there are, or is too long for any code.
pub fn draw(text: &str, columns_max: usize) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let side = code.width() + 2 * QUIET;
    if side > columns_max {
        return None;
    }
    let is_light = |x: usize, y: usize| {
        let inside = QUIET..QUIET + code.width();
        !inside.contains(&x) || !inside.contains(&y) || code[(x - QUIET, y - QUIET)] == Color::Light
    };
    let mut drawn = String::new();
    for y in (0..side).step_by(2) {
        drawn += &INK.render().to_string();
        drawn.extend((0..side).map(|x| match (is_light(x, y), is_light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        drawn += &INK.render_reset().to_string();
        drawn.push('\n');
    }
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a drawing as a camera would: eight pixels to a module.
    fn read(drawn: &str) -> String {
        const SCALE: usize = 8;
        let plain = drawn.replace(&INK.render().to_string(), "").replace(&INK.render_reset().to_string(), "");
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in plain.lines() {
            let halves = |upper: bool| {
                line.chars().map(move |c| match c {
                    '█' => true,
                    '▀' => upper,
                    '▄' => !upper,
                    ' ' => false,
                    other => panic!("{other:?} is no half block"),
                })
            };
            rows.push(halves(true).collect());
            rows.push(halves(false).collect());
        }
        let side = rows[0].len();
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
            if rows[y / SCALE][x / SCALE] { 255 } else { 0 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn what_is_drawn_reads_back() {
        let card = format!("wbsync-card1:{}", "c2lnbmVkIGFuZCBiYXNlNjQ_-".repeat(24));
        for text in ["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDgMnt7D8ZfPyb6wEs", &card] {
            assert_eq!(read(&draw(text, usize::MAX).unwrap()), text);
        }
    }

    #[test]
    fn what_is_too_wide_is_not_drawn() {
        let drawn = draw("SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDgMnt7D8ZfPyb6wEs", usize::MAX).unwrap();
        let columns = drawn.lines().next().unwrap().chars().filter(|c| "█▀▄ ".contains(*c)).count();
        assert!(draw("SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDgMnt7D8ZfPyb6wEs", columns).is_some());
        assert!(draw("SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDgMnt7D8ZfPyb6wEs", columns - 1).is_none());
        assert!(draw(&"x".repeat(3000), usize::MAX).is_none());
    }
}
