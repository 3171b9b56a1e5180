"""Pages: made from notebooks and Markdown; the committed ones in a real browser.

The browser has no network. It is the system's Chromium; without one its tests are
skipped, `.ci/run` installs it where it can.
"""

import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from nbformat import v4
from playwright.sync_api import sync_playwright

from noisyseg import frontpage, pages

REPORTS = Path("reports")
PAGES = [REPORTS / "index.html", *sorted(REPORTS.glob("*/*.html"))]
PHONE, PAPER = 390, 680  # pixels: a phone's width, and 180 mm of an A4 sheet
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"
WIDTH = "document.documentElement.scrollWidth"
IMAGES = """() => [...document.images].filter(
  image => !image.naturalWidth || !image.alt.trim() || image.alt.startsWith('No desc')
).map(image => image.src.slice(0, 80))"""
DRAWINGS = """() => [...document.querySelectorAll('svg')].filter(
  svg => svg.getAttribute('role') != 'img' || !svg.getAttribute('aria-label')
).length"""
FLAT_FORMULAS = """() => [...document.querySelectorAll('math')].filter(math => {
  const box = math.getBoundingClientRect(); return !(box.width > 0 && box.height > 0);
}).length"""
WIDE = """width => [...document.querySelectorAll('table, img, svg, pre')].filter(
  part => part.getBoundingClientRect().right > width + 1
).map(part => part.outerHTML.slice(0, 120))"""
LINKS = "() => [...document.links].map(link => link.getAttribute('href'))"
# The least contrast (WCAG 2) between a text and what is behind it.
PALE = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = channels(colour).map(
      c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = part => {
    for (; part; part = part.parentElement) {
      const found = getComputedStyle(part).backgroundColor;
      if (channels(found)[3] !== 0) return found;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.querySelectorAll('main, main *')].filter(part =>
    !part.closest('svg, style') && part.checkVisibility({opacityProperty: true}) &&
    [...part.childNodes].some(node => node.nodeType == 3 && node.data.trim()));
  return Math.min(...texts.map(part => {
    const pair = [light(getComputedStyle(part).color), light(behind(part))].sort();
    return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
  }));
}"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


# Pictures that a reader has not scrolled to are not fetched until then.
LOADED = """() => Promise.all([...document.images].map(image => {
    image.loading = "eager";
    return image.decode().catch(() => null);
}))"""


@pytest.fixture(scope="module", params=PAGES, ids=lambda path: path.stem)
def shown(request, browser):
    """A page, loaded without network, and all that went wrong meanwhile."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800})
    context.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    page, faults = context.new_page(), []
    page.on("console", lambda said: faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda failed: faults.append(failed.url[:200]))
    page.goto(request.param.resolve().as_uri())
    page.evaluate(OPEN)
    page.faults, page.path = faults, request.param
    yield page
    context.close()


def test_a_page_loads_without_a_fault_or_a_network(shown):
    assert shown.faults == []
    assert shown.title() and shown.evaluate("document.querySelectorAll('h1').length")


def test_every_picture_is_there_and_described(shown):
    shown.evaluate(LOADED)
    assert shown.evaluate(IMAGES) == []
    assert shown.evaluate(DRAWINGS) == 0


def test_formulas_are_visible(shown):
    assert shown.evaluate(FLAT_FORMULAS) == 0


def test_links_lead_somewhere(shown):
    for link in set(shown.evaluate(LINKS)):
        if link.startswith(("https://", "http://")):
            continue
        place, anchor = urldefrag(link)
        target = shown.path.parent / unquote(place) if place else shown.path
        assert target.exists(), link
        ids = [f'id="{name}"' for name in (anchor, unquote(anchor))]
        assert not anchor or any(name in target.read_text() for name in ids), link


def test_a_phone_needs_no_sideways_scrolling(shown):
    shown.set_viewport_size({"width": PHONE, "height": 844})
    assert shown.evaluate(WIDTH) <= PHONE
    shown.set_viewport_size({"width": 1280, "height": 800})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(shown, scheme):
    shown.emulate_media(color_scheme=scheme)
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(", "))) < 128) == (scheme == "dark")
    assert shown.evaluate(PALE) >= 4.5


def test_nothing_is_cut_in_print(shown):
    shown.set_viewport_size({"width": PAPER, "height": 1000})
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate(WIDE, PAPER) == []
    assert shown.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    shown.emulate_media(media="screen", color_scheme="light")
    shown.set_viewport_size({"width": 1280, "height": 800})


@pytest.fixture
def front(browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    yield page
    page.close()


def test_the_first_screen_has_every_question_and_what_came_out(front):
    front.goto((REPORTS / "index.html").resolve().as_uri())
    cards = front.locator(".card")
    assert cards.count() == len(frontpage.study_names(()))
    for card in cards.all():
        box = card.locator("figure").bounding_box()
        assert box["y"] + box["height"] <= 900


def test_a_link_to_a_claim_opens_its_row(front):
    front.goto((REPORTS / "index.html").resolve().as_uri() + "#claim-mind.gap_reduced")
    row = front.locator("[id='claim-mind.gap_reduced']")
    row.wait_for(state="visible", timeout=2000)
    assert "reproduced" in row.inner_text()


def test_the_front_page_prints_with_all_its_claims(front):
    front.goto((REPORTS / "index.html").resolve().as_uri())
    front.emulate_media(media="print")
    assert front.locator(".claims tbody tr").last.bounding_box()["height"] > 0
    assert front.pdf().count(b"/Type /Page\n") > 5


def notebook(tmp_path, *cells):
    nbformat.write(v4.new_notebook(cells=list(cells)), tmp_path / "a.ipynb")
    pages.notebook_page(tmp_path / "a.ipynb", tmp_path / "a.html")
    return (tmp_path / "a.html").read_text()


def test_a_page_needs_no_network_and_shows_formulas(tmp_path):
    cell = v4.new_markdown_cell("# A < B\n\n$$\\frac{a}{b}$$ and `$code$`")
    page = notebook(tmp_path, cell)
    assert "<mfrac>" in page and "$code$" in page
    assert "<title>A &lt; B</title>" in page
    assert "<script" not in page and "http" not in page.split("<main")[1].replace(
        "http://www.w3.org/1998/Math/MathML", ""
    )


def picture(**metadata):
    data = {"image/png": "iVBORw0KGgo="}
    output = v4.new_output("display_data", data, metadata={"image/png": metadata})
    return v4.new_code_cell("draw()", outputs=[output])


def test_a_picture_is_described_by_the_text_that_leads_to_it(tmp_path):
    text = v4.new_markdown_cell("## Noise\n\nFirst.\n\nEach *dot* is a head.")
    page = notebook(tmp_path, text, picture(), picture(alt="Its own."))
    assert 'alt="Figure. Noise. Each dot is a head."' in page
    assert 'alt="Its own."' in page


def test_wide_tables_stand_in_boxes_of_their_own(tmp_path):
    page = notebook(tmp_path, v4.new_markdown_cell("|a|\n|--|\n|b|"))
    assert page.count('<div class="table" tabindex="0"><table') == 1
    assert page.count("</table></div>") == 1


def test_the_same_outputs_give_the_same_bytes(tmp_path):
    def run(cell_id, when, *texts):
        tags = {"tags": ["injected-parameters"], "papermill": {"start_time": when}}
        given = v4.new_code_cell("scale = 1", id=cell_id, metadata=tags)
        outputs = [v4.new_output("stream", text=text) for text in texts]
        bar = v4.new_output("display_data", {pages.WIDGET: {"model_id": cell_id}})
        printed = v4.new_code_cell("print()", id="told", outputs=[*outputs, bar])
        node = v4.new_notebook(cells=[given, printed])
        nbformat.write(node, path := tmp_path / f"{cell_id}.ipynb")
        pages.settle(path)
        return path.read_text()

    again = run("4e5f6a7b", "later", "one\n", "two\n")
    assert run("0a1b2c3d", "now", "one\ntwo\n") == again
    assert "one\\n" in again and "later" not in again
