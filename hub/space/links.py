"""The link to what the page shows: text and choices behind the address's #, which browsers keep to themselves."""

from __future__ import annotations

import json

FIELDS = {
    "text": ("text", "model", "guideline", "threshold"),
    "guidelines": ("text", "model", "guideline", "threshold"),
}
"""Tab → the names of its values in a link, in the order of its inputs; several guidelines are repeated."""


def read_link(models: list[str]) -> str:
    """JavaScript: the values of both tabs, as a link says, or as they are.

    Args:
        models: those of the page; a link's model that isn't among them is passed over.
    """
    return f"""(...now) => {{
  const said = new URLSearchParams(location.hash.slice(1)), tab = said.get("tab");
  if (!["text", "guidelines"].includes(tab)) return now;
  const first = tab === "text" ? 0 : 4, number = Number(said.get("threshold"));
  now[first] = said.get("text") ?? now[first];
  if ({json.dumps(models)}.includes(said.get("model"))) now[first + 1] = said.get("model");
  if (said.has("guideline")) now[first + 2] = tab === "text" ? said.get("guideline") : said.getAll("guideline");
  if (said.has("threshold") && number >= 0 && number <= 1) now[first + 3] = number;
  if (tab !== "text") [...document.querySelectorAll("button[role=tab]")].find(b => /guidelines/i.test(b.textContent))?.click();
  return now;
}}"""


def write_link(tab: str) -> str:
    """JavaScript that puts a tab's values into the address, and the address into the clipboard.

    Args:
        tab: a key of `FIELDS`.
    """
    names = ", ".join(f'"{name}"' for name in FIELDS[tab])
    return f"""(...values) => {{
  const said = new URLSearchParams({{tab: "{tab}"}}), names = [{names}];
  values.forEach((value, n) => [value].flat().forEach(item => said.append(names[n], item ?? "")));
  history.replaceState(null, "", "#" + said);
  navigator.clipboard?.writeText(location.href).catch(() => null);
  return [];
}}"""
