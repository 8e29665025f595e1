"""A checkerboard to print, as SVG in millimetres, with a length to hold a ruler against."""

from __future__ import annotations

RULER_MM = 100.0
MARGIN_MM = 15.0  # white all round: corners at the rim need it


def board_svg(squares: tuple[int, int], square_mm: float) -> str:
    """Return a checkerboard of `squares` (across, down), each `square_mm` wide, and a ruler below it, as SVG."""
    across, down = squares
    width, height = across * square_mm, down * square_mm
    page = (max(width, RULER_MM) + 2 * MARGIN_MM, height + 3 * MARGIN_MM)
    black = "".join(
        f"M{MARGIN_MM + x * square_mm:g} {MARGIN_MM + y * square_mm:g}h{square_mm:g}v{square_mm:g}h-{square_mm:g}z"
        for y in range(down)
        for x in range(across)
        if (x + y) % 2 == 0
    )
    line = height + 2 * MARGIN_MM
    text = f"{across} x {down} squares of {square_mm:g} mm; this line is {RULER_MM:g} mm long: measure it"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{page[0]:g}mm" height="{page[1]:g}mm" '
        f'viewBox="0 0 {page[0]:g} {page[1]:g}">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<path d="{black}"/>\n'
        f'<path d="M{MARGIN_MM:g} {line - 2:g}v4m0-2h{RULER_MM:g}m0-2v4" fill="none" '
        'stroke="#000" stroke-width=".2"/>\n'
        f'<text x="{MARGIN_MM:g}" y="{line + 6:g}" font-size="4" font-family="sans-serif">{text}</text>\n'
        "</svg>\n"
    )
