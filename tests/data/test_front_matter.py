"""Front matter of any site, and the address that its page has there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.data.front_matter import decode, page_address, split_front_matter

YAML = "---\ntitle: T\nslug: the-slug\n---\nbody"
TOML = '+++\ntitle = "T"\nslug = "the-slug"\n+++\n\nbody'
JSON = '{\n  "title": "T",\n  "slug": "the-slug"\n}\n\nbody'
META = {"title": "T", "slug": "the-slug"}


@pytest.mark.parametrize("text", [YAML, TOML, JSON, YAML.replace("---\nb", "...\nb")])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_front_matter_of_every_kind_and_encoding(text, ends, encoding):
    raw = text.replace("\n", ends).encode(encoding)
    assert split_front_matter(decode(raw)) == (META, "body")


@pytest.mark.parametrize(
    "text",
    [
        "no front matter",
        "---\nnever closed",
        "+++\nnever closed",
        "---\na text between two lines\n---\nand more",
        '{{< figure src="a.png" >}}\nbody',
        "{% include a.html %}\nbody",
        "",
        "--- \n",
    ],
)
def test_what_is_no_front_matter(text):
    assert split_front_matter(text) == ({}, text)


def test_values_come_as_they_were_typed():
    text = (
        "---\nDate: 2024-13-45\nTITLE: No\nid: 007\nslug: 2024-01-02\nurl: ~\nlicense: null\n---\n"
    )
    meta, _ = split_front_matter(text)
    assert meta == {"date": "2024-13-45", "title": "No", "id": "007", "slug": "2024-01-02"}
    assert split_front_matter("---\n---\nbody") == ({}, "body")


@pytest.mark.parametrize(
    "text",
    [
        "---\n{bad: [yaml\n---\ntext",
        "---\ntitle: Foo: bar\n---\ntext",
        f"---\na: {'[' * 5000}\n---\ntext",
        "+++\ndate = 2024-13-45\n+++\ntext",
        "+++\na = \n+++\ntext",
        f"+++\na = {'9' * 5000}\n+++\ntext",
        '{"title": "never closed',
        '{"a": ' * 5000,
    ],
)
def test_broken_front_matter(text):
    with pytest.raises(ValueError):  # noqa: PT011 - of each format its own
        split_front_matter(text)


@given(st.text("-+{}[]:#&*!|>'\"%@`~ \n\tab1.=,\x00é", max_size=60), st.sampled_from("-+{"))
def test_no_text_breaks_it_otherwise(text, mark):
    text = {"-": f"---\n{text}\n---\nb", "+": f"+++\n{text}\n+++\nb", "{": f'{{"{text}}}b'}[mark]
    try:
        meta, body = split_front_matter(text)
    except ValueError:
        return
    assert text.endswith(body)
    assert isinstance(page_address("a/b.md", meta), str)


@pytest.mark.parametrize(
    ("path", "meta", "address"),
    [
        ("posts/the-old-harbour.md", {}, "posts/the-old-harbour"),
        ("_posts/2019-05-01-the-old-harbour.md", {}, "_posts/the-old-harbour"),
        ("blog/2019-5-1-the-old-harbour/index.md", {}, "blog/the-old-harbour"),
        ("the-old-harbour/index.md", {}, "the-old-harbour"),
        ("the-old-harbour/index.en.md", {}, "the-old-harbour"),
        ("posts/the-old-harbour.pt-br.md", {}, "posts/the-old-harbour"),
        ("posts/2019-05-01.md", {}, "posts/2019-05-01"),
        ("index.md", {}, "home"),
        ("posts/_index.md", {}, ""),
        ("posts/_index.md", {"url": "/the-old-harbour/"}, "/the-old-harbour/"),
        ("posts/p1.md", {"slug": "the-old-harbour"}, "posts/the-old-harbour"),
        ("posts/p1.md", {"slug": "/the/old-harbour"}, "/the/old-harbour"),
        ("posts/p1/index.md", {"slug": "the-old-harbour"}, "posts/the-old-harbour"),
        ("index.md", {"slug": "the-old-harbour"}, "the-old-harbour"),
        ("p1.md", {"url": "https://e.org:80/x/", "slug": "s"}, "https://e.org:80/x/"),
        ("p1.md", {"permalink": "/the-old-harbour.html"}, "/the-old-harbour.html"),
        ("the-old-harbour.md", {"permalink": "/:categories/:title/"}, "the-old-harbour"),
        ("the-old-harbour.md", {"permalink": "pretty"}, "the-old-harbour"),
        ("the-old-harbour.md", {"url": ["a"], "slug": {"a": "b"}}, "the-old-harbour"),
        ("the-old-harbour.md", {"url": False, "slug": None, "permalink": ""}, "the-old-harbour"),
        ("p1.md", {"slug": 2024}, "2024"),
    ],
)
def test_addresses_of_pages(path, meta, address):
    assert page_address(path, meta, "home") == address
