"""HTML pages of notebooks and Markdown that need no network, script or other file.

Formulas become MathML and pictures lie inside the file. The look is that of
``page.html.j2`` and ``page.css``: light or dark as the reader's machine is, on a
phone's width and on paper.
"""

import re
from importlib import resources

from noisyseg.reporting import write_text

HOME = "../index.html"  # of a page of a study, the page that leads to it
INJECTED = "injected-parameters"  # papermill's tag
WIDGET = "application/vnd.jupyter.widget-view+json"
DESCRIPTION = 300  # characters of a picture's description, at most


def notebook_page(notebook, page, *, home=HOME):
    """Write an executed notebook as one HTML file.

    A picture without an ``alt`` of its own is described by the heading above it and by
    the text that leads to it.

    Parameters
    ----------
    notebook, page : str or Path
    home : str, optional
        Address of the page to go back to, relative to `page`.
    """
    import nbformat

    nodes = nbformat.read(notebook, as_version=4)
    describe_pictures(nodes.cells)
    _write(nodes, page, home)


def settle(notebook):
    """Take out of an executed notebook what differs from one run to the next.

    Times, the id of the cell that papermill injects, bars of progress, and how often
    printing paused. What is left has the same bytes when its outputs are the same.

    Parameters
    ----------
    notebook : str or Path
        Written anew in its place.
    """
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    nodes = nbformat.read(notebook, as_version=4)
    nodes, _ = CoalesceStreamsPreprocessor().preprocess(nodes, {})
    for part in (nodes, *nodes.cells):
        for key in ("papermill", "execution", "widgets"):
            part.metadata.pop(key, None)
    for cell in nodes.cells:
        if INJECTED in cell.metadata.get("tags", ()):
            cell.id = INJECTED
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    write_text(notebook, nbformat.writes(nodes) + "\n")


def markdown_page(markdown, page, *, home=None):
    """Write Markdown, which may hold HTML, as one HTML page in the same style.

    Parameters
    ----------
    markdown : str
        Its first heading is the title of the page.
    page : str or Path
    home : str, optional
        As in `notebook_page`.
    """
    from nbformat import v4

    cell = v4.new_markdown_cell(markdown, id="page")
    _write(v4.new_notebook(cells=[cell]), page, home)


def _write(nodes, page, home):
    """Convert a notebook node to HTML without any address outside the file."""
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    texts = [cell for cell in nodes.cells if cell.cell_type == "markdown"]
    title = next((head for cell in texts for head in _headings(cell.source)), "")
    for cell in texts:
        cell.source = formulas_to_mathml(cell.source)
    styles = {
        f"{name}_code": HtmlFormatter(style=style).get_style_defs(".highlight")
        for name, style in (("light", "xcode"), ("dark", "github-dark"))
    }
    with resources.as_file(resources.files("noisyseg")) as folder:
        exporter = HTMLExporter(
            template_name="classic",
            template_file="page.html.j2",
            extra_template_paths=[str(folder)],
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        given = {"title": title, "home": home, **styles}
        text, _ = exporter.from_notebook_node(nodes, resources=given)
    write_text(page, _in_boxes(text))


def _in_boxes(html):
    """HTML whose tables stand in boxes of their own, which scroll if they are wide."""
    html = re.sub(r"<table\b", '<div class="table" tabindex="0"><table', html)
    return html.replace("</table>", "</table></div>")


def formulas_to_mathml(markdown):
    """Markdown whose ``$...$`` and ``$$...$$`` are MathML; code is left alone.

    Examples
    --------
    >>> "<math" in formulas_to_mathml("a $x^2$ b"), formulas_to_mathml("`$x$`")
    (True, '`$x$`')
    """
    from latex2mathml.converter import convert

    def replace(match):
        code, block, inline = match.groups()
        if code is not None:
            return code
        if inline is not None:
            return convert(inline, display="inline")
        return f'<span class="formula">{convert(block, display="block")}</span>'

    pattern = r"(```.*?```|`[^`]*`)|\$\$(.+?)\$\$|\$([^$\n]+?)\$"
    return re.sub(pattern, replace, markdown, flags=re.DOTALL)


def describe_pictures(cells):
    """Give each picture of a notebook's cells a description, if it has none.

    Parameters
    ----------
    cells : list of NotebookNode
        In the order of the notebook; changed in place.
    """
    heading = lead = ""
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = next(reversed(_headings(cell.source)), heading)
            lead = _last_paragraph(cell.source)
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                about = output.setdefault("metadata", {}).setdefault("image/png", {})
                about.setdefault("alt", _shorten(f"Figure. {heading}. {lead}"))


def _headings(markdown):
    """The headings of Markdown as plain text."""
    markdown = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    return [_plain(head) for head in re.findall(r"^#+ +(.+)$", markdown, re.MULTILINE)]


def _last_paragraph(markdown):
    """The last paragraph of Markdown as plain text, without what it asks the reader.

    No heading, formula, table or HTML.

    Examples
    --------
    >>> _last_paragraph("One head. Predict: which is dark?\\n\\n$$x$$")
    'One head.'
    """
    blocks = re.split(r"\n\s*\n", markdown.strip())
    for block in blocks[::-1]:
        if block.startswith(("#", "$$", "|", "```", "<")):
            continue
        sentences = re.split(r"(?<=[.!?]) +(?=[A-Z*])", _plain(block))
        told = [s for s in sentences if not s.endswith("?") and "Predict:" not in s]
        if told:
            return " ".join(told)
    return ""


def _plain(markdown):
    """Markdown without its marks, in one line.

    Examples
    --------
    >>> _plain("a **bold** [link](x.html) and `code`")
    'a bold link and code'
    """
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*`$#\\]", "", text).split())


def _shorten(text):
    """Text of at most `DESCRIPTION` characters, cut between words."""
    if len(text) <= DESCRIPTION:
        return text
    return text[:DESCRIPTION].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"
