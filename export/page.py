"""Pieces of the report's page: plain HTML in one file, light and dark, and made to be printed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b636e;--line:#dfe3e8;--paper:#fff;--panel:#f6f8fa;
--blue:#0a5fbf;--orange:#c4500a}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ed;--soft:#98a2ae;--line:#30363d;--paper:#0f1318;--panel:#181d24;
--blue:#6cb2ff;--orange:#ff9b57}}
*{box-sizing:border-box}
body{font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:1120px;margin:0 auto;
padding:2.5em 1.5em 4em;color:var(--ink);background:var(--paper)}
h1{font-size:1.9em;line-height:1.2;margin:0 0 .2em;letter-spacing:-.01em}
h2{font-size:1.2em;margin:2.6em 0 .6em;padding-top:.6em;border-top:1px solid var(--line)}
h3{font-size:1em;margin:1.6em 0 .4em}
p{max-width:75ch;margin:.5em 0}.soft,figcaption{color:var(--soft)}
.note{border-left:3px solid var(--orange);padding:.3em 1em;background:var(--panel);max-width:none}
table{border-collapse:collapse;width:100%}td,th{padding:.32em .8em .32em 0;border-bottom:1px solid var(--line);
text-align:left;vertical-align:top;font-weight:400}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;padding-right:0}
code,pre,.hash{font:.86em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}.hash{word-break:break-all}
pre{background:var(--panel);padding:1em;overflow-x:auto;white-space:pre-wrap}
figure{margin:1.4em 0;break-inside:avoid}img,svg{display:block;max-width:100%;height:auto}img{border-radius:3px}
svg{width:100%;max-width:720px}
.grid{display:grid;gap:1em;grid-template-columns:repeat(auto-fill,minmax(250px,1fr))}
.small{display:grid;gap:.8em;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));font-size:.82em;line-height:1.35}
.charts{display:grid;gap:1.5em;grid-template-columns:repeat(auto-fit,minmax(400px,1fr))}
.grid figure,.small figure{margin:0}.grid img,.small img{width:100%}
svg .grid{stroke:var(--line)}svg text{fill:var(--ink);font-size:12px}svg .tick,svg .axis{fill:var(--soft)}
svg circle{fill:var(--paper);stroke:var(--blue);stroke-width:2}svg .kept{fill:var(--blue)}
svg .bar{fill:var(--blue);opacity:.75}svg .marked{fill:var(--orange)}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--panel:#f4f4f4;--blue:#0a5fbf;
--orange:#b04000}body{font-size:10pt;max-width:none;padding:0}h2{break-after:avoid}tr,svg{break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
@page{margin:16mm}
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page of `parts`, which are HTML."""
    head = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta name=viewport content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style>"
    )
    return "\n".join([head, *(part for part in parts if part)]) + "\n</html>\n"


def section(title: str, *parts: str) -> str:
    """Return a section, or nothing where all `parts` are empty."""
    filled = [part for part in parts if part]
    return "\n".join([f"<h2>{escape(title)}</h2>", *filled]) if filled else ""


def told(text: str, *, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is "soft" or "note"."""
    if not text:
        return ""
    return f"<p class={kind}>{escape(text)}</p>" if kind else f"<p>{escape(text)}</p>"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and figures, or nothing where there are none."""
    cells = "".join(f"<tr><td>{escape(name)}<td class=n>{escape(value)}" for name, value in rows)
    return f"<table>{cells}</table>" if rows else ""


def hashes(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and what belongs to them in a type in which hashes can be read."""
    cells = "".join(f"<tr><td>{escape(name)}<td class=hash>{escape(value)}" for name, value in rows)
    return f"<table>{cells}</table>" if rows else ""


def picture(jpeg: bytes, text: str, more: str = "") -> str:
    """Return a JPEG with what is written below it."""
    data = base64.b64encode(jpeg).decode("ascii")
    below = escape(text) + (f"<br><span class=hash>{escape(more)}</span>" if more else "")
    shown = f'<img alt="{escape(text)}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{shown}<figcaption>{below}</figcaption></figure>"


def many(figures: Sequence[str], *, small: bool = False) -> str:
    """Return figures side by side, or nothing where there are none."""
    return f"<div class={'small' if small else 'grid'}>{''.join(figures)}</div>" if figures else ""
