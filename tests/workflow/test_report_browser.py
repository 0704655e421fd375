"""The report as a reader meets it: in a browser, every category clicked, every figure looked at."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="needs Chromium and ChromeDriver (Debian: apt install chromium chromium-driver)",
)

# No sandbox and no GPU because the tests may run as root on a machine without a screen; the rest
# keeps the browser from calling its maker's hosts.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1600,1000",
)

# A figure that is shown smaller than this cannot be read.
SMALLEST_SIDE = 150

# The menu moves into place for a while after each click, and a click has to wait for it.
NO_ANIMATION = """
const style = document.createElement("style");
style.textContent = "* { transition: none !important }";
document.head.append(style);
"""

GRAPH_SIZE = """
const graph = document.querySelector(arguments[0]);
return graph ? Math.min(graph.clientWidth, graph.clientHeight) : 0;
"""


@pytest.fixture(scope="module", params=["html", "zip"])
def report(request, small_run: Path, repository: Path, tmp_path_factory) -> Path:
    """The page of the report in one of its two forms, the zip unpacked."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / f"report.{request.param}"
    snakefile = small_run / "Snakefile"
    if not snakefile.exists():
        snakefile = repository / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--report", path]
    done = subprocess.run(command, cwd=small_run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if path.suffix == ".html":
        return path
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[WebDriver]:
    """A browser with an empty profile, started with the driver that is installed."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")
        patch.setenv("SE_AVOID_STATS", "true")
        browser = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def page(driver: WebDriver, report: Path) -> Iterator[WebDriver]:
    """The report, freshly loaded; nothing may have gone wrong in it when the test is over."""
    driver.get(report.as_uri())
    driver.execute_script(NO_ANIMATION)
    yield driver
    wrong = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not wrong, wrong


def wait_for(page: WebDriver, what: str, condition: Callable[[], object]) -> object:
    """Wait until the condition holds, and say what was waited for if it never does."""
    return WebDriverWait(page, 10, poll_frequency=0.02).until(lambda _: condition(), what)


def click(page: WebDriver, text: str) -> None:
    """Click on the entry of the menu that bears this text."""
    page.find_element(By.XPATH, f"//nav//ul//a[normalize-space(.)='{text}']").click()


class Place(NamedTuple):
    """Where a result stands in the menu."""

    category: str
    subcategory: str
    toggle: str | None
    row: int


def open_list(page: WebDriver, category: str, subcategory: str, toggle: str | None = None) -> None:
    """Go from the top of the menu to the list of results of one subcategory."""
    categories = page.execute_script("return categories")
    page.find_element(By.CSS_SELECTOR, "nav ol a").click()
    click(page, category if len(categories) > 1 else "Results")
    if len(categories[category]) > 1:
        click(page, subcategory)
    if toggle:
        page.find_element(By.XPATH, f"//nav//label[normalize-space(.)='{toggle}']").click()


def rows(page: WebDriver) -> list[WebElement]:
    """The results in the list that is open."""
    return page.find_elements(By.CSS_SELECTOR, "nav tbody tr")


def places(page: WebDriver) -> Iterator[Place]:
    """Every place in the menu where a result can be opened."""
    for category, subcategories in page.execute_script("return categories").items():
        for subcategory in subcategories:
            open_list(page, category, subcategory)
            radios = page.find_elements(By.CSS_SELECTOR, "nav input[type=radio]")
            toggles = [radio.get_attribute("value") for radio in radios] or [None]
            for toggle in toggles:
                open_list(page, category, subcategory, toggle)
                for row in range(len(rows(page))):
                    yield Place(category, subcategory, toggle, row)


def assert_shown(page: WebDriver, path: str, mime_type: str, file_name: str | None) -> None:
    """Assert that a result that has just been clicked is on the screen, or offered as a file."""
    if mime_type.startswith("image/"):
        image = wait_for(page, f"{path} to be shown", lambda: content(page, "img", path))
        wait_for(page, f"{path} to be rendered", lambda: image.get_property("naturalWidth") > 0)
        assert min(image.size.values()) >= SMALLEST_SIDE, (path, image.size)
        # The page centres an image: the top of one that is too tall cannot be scrolled to.
        assert image.location["y"] >= 0, f"{path} is too tall"
    elif mime_type == "text/html":
        page.switch_to.frame(wait_for(page, path, lambda: content(page, "iframe", path)))
        body = page.find_element(By.TAG_NAME, "body")
        assert wait_for(page, f"text in {path}", lambda: body.text.strip())
        page.switch_to.default_content()
    elif mime_type == "application/pdf":
        assert wait_for(page, path, lambda: content(page, "iframe", path))
    else:
        assert file_name == Path(path).name


def content(page: WebDriver, tag: str, path: str) -> WebElement | None:
    """Find the element that shows a result in the main part of the page, if it is there."""
    return page.execute_script(
        "return [...document.querySelectorAll(`#app div.grow ${arguments[0]}`)].find("
        "element => element.getAttribute('src') === results[arguments[1]].data_uri)",
        tag,
        path,
    )


def test_every_result_opens_and_is_described(page):
    mime_types = page.execute_script(
        "return Object.fromEntries(Object.entries(results).map(([k, v]) => [k, v.mime_type]))"
    )
    assert mime_types
    seen = set()
    for place in list(places(page)):
        open_list(page, *place[:3])
        view, information = rows(page)[place.row].find_elements(By.TAG_NAME, "a")
        file_name = view.get_attribute("download")
        if not file_name:
            view.click()
        information.click()
        path = page.find_element(By.CSS_SELECTOR, "nav ol li.grow").text
        assert_shown(page, path, mime_types[path], file_name)
        caption = page.find_elements(By.XPATH, "//nav//li[.='Description']/following-sibling::li")
        assert caption, f"{path} has no caption"
        assert len(caption[0].text.split()) >= 5, (path, caption[0].text)
        assert "{{" not in caption[0].text, (path, caption[0].text)
        seen.add(path)
    assert seen == mime_types.keys(), "there are results that no click leads to"


def test_every_figure_of_the_run_is_in_the_report(page, small_run):
    drawn = {path.relative_to(small_run).as_posix() for path in small_run.glob("results/**/*.svg")}
    shown = set(page.execute_script("return Object.keys(results)"))
    assert drawn
    assert drawn <= shown


def test_workflow_is_described_and_drawn(page, small_run):
    click(page, "Workflow")
    description = page.find_element(By.CSS_SELECTOR, "#app .prose").text
    assert "{{" not in description
    studies = yaml.safe_load((small_run / "config.yaml").read_text())["studies"]
    for name, study in studies.items():
        assert study.get("title", name) in description
    assert wait_for(
        page,
        "the graph of the rules",
        lambda: page.execute_script(GRAPH_SIZE, "#rulegraph canvas, #rulegraph svg.marks"),
    )


def test_statistics_are_drawn(page):
    click(page, "Statistics")
    for plot in ("#runtimes", "#timeline"):
        assert wait_for(
            page,
            plot,
            lambda plot=plot: page.execute_script(GRAPH_SIZE, f"{plot} canvas, {plot} svg.marks"),
        )
