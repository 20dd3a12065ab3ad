"""Medians, ratios and the Markdown that a benchmark ends with."""

import datetime
import os
import platform
import statistics
import subprocess


def number(x):
    """Three digits that count, with thousands parted."""
    if x is None:
        return ""
    if isinstance(x, str):
        return x
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 1 else f"{x:.3f}"


def spread(samples):
    """Median, and from where to where."""
    if not samples:
        return ""
    if isinstance(samples[0], str):
        return "; ".join(sorted(set(samples)))
    middle = number(statistics.median(samples))
    return middle if len(samples) == 1 else f"{middle} ({number(min(samples))} to {number(max(samples))})"


def middle(samples):
    """The median; of words, those that were said."""
    if not samples:
        return None
    return spread(samples) if isinstance(samples[0], str) else statistics.median(samples)


def ratio(a, b):
    """The median of the ratios within each round: what slows a whole round falls out."""
    pairs = [x / y for x, y in zip(a, b) if y and not isinstance(x, str) and not isinstance(y, str)]
    return statistics.median(pairs) if pairs else None


def markdown(head, rows):
    rows = [[str(c).replace("|", "\\|") for c in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def machine():
    """The processor, memory, kernel and load of this machine, in a line."""
    model, memory = platform.machine(), 0
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / (1 << 20)
    return (f"{len(os.sched_getaffinity(0))} processors ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
            f"load {os.getloadavg()[0]:.1f} at the start")


def commit():
    r = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return r.stdout.strip() or "unknown"


def today():
    return datetime.date.today().isoformat()
