"""A bar chart as SVG, for light and dark pages."""

from html import escape

from bench.table import number

ROW, LEFT, WIDTH, BAR = 44, 265, 780, 340

STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .small { font-size: 12px; fill: #59636e }
.bar { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .small { fill: #9198a1 } .bar { fill: #656c76 } .ours { fill: #4493f8 } }
"""


def svg(title, note, bars):
    """bars are (label, seconds, remark, whether it is ours). Lengths are in proportion, from zero."""
    most, height = max(seconds for _, seconds, _, _ in bars), 74 + ROW * len(bars)
    said = "; ".join(f"{label}: {number(seconds)} s" for label, seconds, _, _ in bars)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">',
             f'<title id="title">{escape(title)}</title>', f'<desc id="desc">{escape(said)}. {escape(note)}</desc>', f"<style>{STYLE}</style>",
             f'<text class="title" x="0" y="20">{escape(title)}</text>']
    for i, (label, seconds, remark, ours) in enumerate(bars):
        y = 40 + ROW * i
        length = max(2, BAR * seconds / most)
        lines += [f'<text x="{LEFT - 10}" y="{y + 19}" text-anchor="end">{escape(label)}</text>',
                  f'<rect class="{"ours" if ours else "bar"}" x="{LEFT}" y="{y}" width="{length:.1f}" height="28" rx="3"/>',
                  f'<text x="{LEFT + length + 8:.1f}" y="{y + 13}">{number(seconds)} s</text>',
                  f'<text class="small" x="{LEFT + length + 8:.1f}" y="{y + 27}">{escape(remark)}</text>']
    lines += [f'<text class="small" x="0" y="{height - 10}">{escape(note)}</text>', "</svg>"]
    return "\n".join(lines) + "\n"
