"""The style sheet of the page: system fonts, light and dark, for phones and for print."""

from __future__ import annotations

_LIGHT = """
  --paper: #ffffff; --ink: #1b1d21; --soft: #575e69; --rule: #e4e6ea; --wash: #f6f7f9;
  --good: #17692f; --bad: #b3261e; --doubt: #7a4f00; --blue: #1f5f99; --pale: #a9c6e2;
  --warm: #b5482f; --sand: #d8a657; --grey: #8b919b;"""

_DARK = """
  --paper: #14161a; --ink: #e9ebee; --soft: #a5acb7; --rule: #2d3138; --wash: #1c1f25;
  --good: #6fcf8b; --bad: #ff8f85; --doubt: #e8bd6d; --blue: #7db5ee; --pale: #335a80;
  --warm: #f0907a; --sand: #d8b06a; --grey: #7f8691;"""

_TEXT = """
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 1180px; padding: 56px 40px 96px;
  background: var(--paper); color: var(--ink); overflow-wrap: break-word;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
h1 { margin: 0 0 4px; font-size: 34px; line-height: 1.2; font-weight: 650; }
h1, h2 { letter-spacing: -.015em; }
h2 { margin: 72px 0 8px; font-size: 22px; line-height: 1.3; font-weight: 620; }
h3 { margin: 36px 0 4px; font-size: 16px; font-weight: 620; }
p { margin: 8px 0; max-width: 46em; }
.lead, .note, .more, figcaption { color: var(--soft); }
.note, .more, figcaption, dl, ul { font-size: 14px; }
.take {
  margin: 16px 0 4px; padding: 2px 0 2px 16px; border-left: 3px solid var(--good);
  font-size: 19px; line-height: 1.45; font-weight: 550;
}
.take.none { border-left-color: var(--doubt); }
.more { padding-left: 19px; }
nav { margin: 20px 0 0; font-size: 14px; }
nav a { margin-right: 18px; color: var(--blue); text-underline-offset: 3px; }
a:focus-visible { outline: 2px solid var(--blue); outline-offset: 3px; }
ul { margin: 8px 0; padding-left: 20px; color: var(--soft); max-width: 60em; }
li { margin: 4px 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 24px; margin: 16px 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 72px; padding-top: 16px; border-top: 1px solid var(--rule); }
"""

_TABLES = """
table { min-width: min(100%, 720px); margin: 24px 0 8px; border-collapse: collapse; }
table { font-size: 14px; line-height: 1.4; }
caption { padding: 0 0 8px; text-align: left; color: var(--soft); }
th, td { padding: 9px 0 9px 14px; text-align: right; vertical-align: baseline; }
th:first-child { padding-left: 0; }
th.words, td.words { padding-left: 22px; text-align: left; }
tbody th.words, thead th:first-child { padding-left: 0; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
td { font-variant-numeric: tabular-nums; }
td:not(.words) span { white-space: nowrap; }
thead th {
  border-bottom: 1px solid var(--ink); color: var(--soft); font-size: 13px; font-weight: 500;
  vertical-align: bottom;
}
thead small, td small { font-size: 12px; }
thead small { display: block; }
tbody th { min-width: 110px; font-weight: 550; }
tbody th, tbody td { border-bottom: 1px solid var(--rule); }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.doubt { color: var(--doubt); } .faint { color: var(--soft); }
"""

_DRAWINGS = """
.pictures { display: grid; gap: 24px 56px; }
.pictures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
figure { margin: 16px 0; max-width: 560px; }
figcaption { margin-top: 4px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 10.5px; }
svg .name { fill: var(--soft); font-size: 10px; }
svg .strong { font-weight: 650; fill: var(--ink); }
.grid { stroke: var(--rule); stroke-width: .7; }
.hill { fill: var(--pale); } .hill.doubtful { fill: var(--grey); fill-opacity: .5; }
.mark { stroke: var(--blue); stroke-width: 1; } .mark.strong { stroke-width: 1.8; }
.range { stroke: var(--pale); stroke-width: 2; }
.bubble { fill: var(--pale); fill-opacity: .65; stroke: var(--blue); stroke-width: 1; }
.bubble.doubtful { fill: none; stroke: var(--grey); stroke-dasharray: 2 2; }
.front { fill: none; stroke: var(--blue); stroke-width: 1.4; }
.series { fill: none; stroke-width: 1.4; } .dot { stroke-width: 1.2; }
.s0 { stroke: var(--blue); } .s1 { stroke: var(--warm); } .s2 { stroke: var(--sand); }
.s3 { stroke: var(--grey); } .s4 { stroke: var(--good); }
.dot.s0 { fill: var(--blue); } .dot.s1 { fill: var(--warm); } .dot.s2 { fill: var(--sand); }
.dot.s3 { fill: var(--grey); } .dot.s4 { fill: var(--good); } .dot.doubtful { fill: var(--paper); }
.series.again { stroke-dasharray: 4 3; }
.leader { stroke: var(--grey); stroke-width: .5; }
.phase { stroke: var(--paper); stroke-width: .8; }
.load { fill: var(--warm); } .first { fill: var(--sand); }
.second { fill: var(--grey); } .steady { fill: var(--blue); }
"""

_PHONE = """
@media screen and (max-width: 1200px) {
  body { padding: 48px 24px 80px; }
  table { font-size: 13px; }
  th, td { padding-left: 8px; }
  th.words, td.words { padding-left: 12px; }
}
@media screen and (max-width: 1000px) {
  body { padding: 32px 16px 64px; }
  h1 { font-size: 28px; }
  h2 { margin-top: 56px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
  table, caption, tbody, tr, th, td { display: block; width: auto; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { padding: 14px 0; border-bottom: 1px solid var(--rule); }
  tbody th, tbody td, tbody td.words { padding: 0; border: 0; }
  tbody th { margin-bottom: 6px; font-size: 15px; }
  tbody td { display: flex; justify-content: space-between; gap: 16px; line-height: 1.7; }
  tbody td::before { content: attr(data-label); color: var(--soft); }
  td span { text-align: right; }
}
"""

_PRINT = """
@page { size: A4 landscape; margin: 12mm; }
@media print {
  html { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; line-height: 1.4; }
  nav { display: none; }
  h1 { font-size: 20pt; } h2 { margin-top: 24pt; font-size: 14pt; } h3 { margin-top: 14pt; }
  h2, h3, caption, thead { break-after: avoid; }
  table, tr, figure, .take, li { break-inside: avoid; }
  thead { display: table-header-group; }
  table, .note, .more, figcaption, dl, ul { font-size: 8.5pt; }
  thead th, thead small, td small { font-size: 8pt; }
  th, td { padding: 4pt 0 4pt 7pt; }
  tbody th { min-width: 70pt; }
  figure { max-width: 120mm; }
}
"""

STYLE = (
    f":root {{{_LIGHT}\n}}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ :root {{{_DARK}\n}} }}"
    f"{_TEXT}{_TABLES}{_DRAWINGS}{_PHONE}{_PRINT}"
)
"""All of it. It names no file, font or address."""
