"""Texts without spaces: the base model is asked in them, and never inside of a character."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import Answer, NudgedModel
from nudging.rule.draft import Draft
from nudging.values.scripts import begins_character
from nudging.values.text import word_start
from nudging.values.tokens import Candidate, Step, count_words
from tests.toys import writing_engine

TEXTS = {
    "Thai": "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทยเป็นศูนย์กลางการปกครองการศึกษา",
    "Lao": "ນະຄອນຫຼວງວຽງຈັນເປັນເມືອງຫຼວງຂອງສາທາລະນະລັດປະຊາທິປະໄຕປະຊາຊົນລາວຕັ້ງຢູ່ແຄມແມ່ນ້ຳຂອງ",
    "Khmer": "ភ្នំពេញជារាជធានីនិងជាទីក្រុងធំបំផុតរបស់ប្រទេសកម្ពុជាស្ថិតនៅលើច្រាំងទន្លេសាបទន្លេមេគង្គ",
    "Burmese": "ရန်ကုန်မြို့သည်မြန်မာနိုင်ငံ၏အကြီးဆုံးမြို့ဖြစ်ပြီးစီးပွားရေးအချက်အချာကျသောမြို့ဖြစ်သည်",
    "Tibetan": "ལྷ་ས་ནི་བོད་རང་སྐྱོང་ལྗོངས་ཀྱི་རྒྱལ་ས་ཡིན་ལ་བོད་ཀྱི་ཆབ་སྲིད་དཔལ་འབྱོར་རིག་གནས་ཀྱི་ལྟེ་གནས་ཡིན།",
    "Javanese": "ꦧꦱꦗꦮꦶꦏꦸꦧꦱꦲꦱ꧀ꦭꦶꦤꦶꦥꦸꦤ꧀ꦱꦸꦏꦸꦗꦮꦲꦶꦁꦥꦸꦭꦺꦴꦗꦮꦏꦁꦢꦶꦲꦸꦕꦥꦏꦺꦢꦺꦤꦶꦁ",
    "half-width kana": "ﾄｳｷｮｳﾊﾆﾎﾝﾉｼｭﾄﾃﾞｽｼﾞﾝｺｳﾊｾﾝﾖﾝﾋｬｸﾏﾝﾆﾝﾃﾞｽｵｵｷﾅﾏﾁﾄｼﾃｾｶｲﾆｼﾗﾚﾃｲﾏｽ",
    "Yi": "ꆈꌠꁱꂷꀋꉬꇉꄉꌋꆀꈨꃀꊿꌺꅉꂘꃅꄷꀕꑌꊨꏦꏱꅉꌠꅇꑟꐥꌐꃅꐯꇖꑌꌶꐚꊪꀉꄂꏓꃚ",
    "flags": "🇫🇷🇩🇪🇯🇵🇧🇷🇮🇳🇨🇦🇪🇸🇮🇹🇬🇷🇳🇴🇸🇪🇫🇮🇩🇰🇵🇱🇨🇿🇦🇹🇨🇭🇧🇪🇳🇱🇵🇹",
    "families": "👨‍👩‍👧‍👦👩🏽‍🚀🧑‍🤝‍🧑👨🏿‍🌾👩‍❤️‍👨🏳️‍🌈👩🏻‍🔬🧔🏾‍♂️👨‍👧🧑🏼‍🎨👩‍👩‍👦🏴‍☠️👨‍🍳",
    "address": "https://example.org/a/very/long/path/to/some/page?with=query&and=more&x=1#here",
    "base64": "TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsuIEFuZCBzbyBpdCBpcyB3aXRoIG51ZGdpbmcsIHRvby4=",
    "Chinese": "北京是中华人民共和国的首都,位于华北平原北部。天安门广场和故宫都在这里,游客很多。",
}


def by_bytes(text: str) -> list[bytes]:
    return [bytes([byte]) for byte in text.encode()]


def by_code_points(text: str) -> list[bytes]:
    return [code.encode() for code in text]


def by_fours(text: str) -> list[bytes]:
    return [text[at : at + 4].encode() for at in range(0, len(text), 4)]


CUTS: Sequence[Callable[[str], list[bytes]]] = [by_bytes, by_code_points, by_fours]
cuts = pytest.mark.parametrize("cut", CUTS)
names = pytest.mark.parametrize("name", TEXTS)


def answer(text: str, base: Sequence[bytes], nudge: Sequence[bytes], **options: Any) -> Answer:
    model = NudgedModel(writing_engine(base), writing_engine(nudge))
    found = model.answer("q", max_tokens=1000, **options)
    assert found.text == text
    return found


def nudged(answer: Answer) -> float:
    """The share of the answer, in characters, that the nudging model wrote."""
    written = sum(len(span.text) for span in answer.spans if span.source == "nudge")
    return written / len(answer.text)


# Only by its length is it known that it is no word: 32 characters.
LONG = ("address", "base64")


@names
@cuts
@pytest.mark.parametrize("options", [{}, {"stop": "either"}, {"takeover": "confident"}])
def test_the_base_model_writes_most_where_both_agree(
    name: str, cut: Callable[[str], list[bytes]], options: dict[str, Any]
) -> None:
    text = TEXTS[name]
    found = answer(text, cut(text), cut(text), **options)
    assert nudged(found) < (0.4 if name in LONG else 0.3)
    assert found.nudge_rate < 1


@names
@cuts
def test_doubt_in_the_middle_is_nudged_by_a_token_or_two(
    name: str, cut: Callable[[str], list[bytes]]
) -> None:
    text = TEXTS[name]
    tokens = cut(text)
    places = list(itertools.accumulate(map(len, tokens)))
    doubtful = places[2 * len(places) // 3 :: 5]
    model = NudgedModel(writing_engine(tokens, doubtful=doubtful), writing_engine(tokens))
    found = model.answer("q", max_tokens=1000)
    assert found.text == text
    assert nudged(found) < 0.6
    assert found.usage.rounds > 1


@names
@pytest.mark.parametrize("lookahead", [4, 16])
@pytest.mark.parametrize(("base", "nudge"), [*itertools.permutations(CUTS, 2)])
def test_and_where_their_tokens_differ(
    name: str,
    base: Callable[[str], list[bytes]],
    nudge: Callable[[str], list[bytes]],
    lookahead: int,
) -> None:
    text = TEXTS[name]
    found = answer(text, base(text), nudge(text), lookahead=lookahead)
    # Four bytes hold no two characters of most of these scripts, so none has a place in between.
    most = 36 if lookahead == 4 or name in LONG else 20
    assert nudged(found) * len(text) <= most


@names
def test_the_authors_words_stay_as_they_are(name: str) -> None:
    text = TEXTS[name]
    found = answer(text, by_fours(text), by_fours(text), words="space")
    assert nudged(found) == 1


def asked_at(text: str, tokens: Sequence[bytes], start: str = "") -> list[int]:
    """Where in a text that follows `start` words begin, drafted in such tokens."""
    draft = Draft(start.encode(), len(tokens))
    for token in tokens:
        made = draft.more()
        next(made)
        with pytest.raises(StopIteration):
            made.send(Step(token, (Candidate(token, 0.9),)))
    assert draft.text == text
    found, begin = list[int](), 0
    while (at := word_start(text, begin, "any", draft.token_starts(begin))) is not None:
        found.append(at)
        begin = at
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("สวัสดีครับ", ["ส", "วั", "ส", "ดี", "ค", "รั", "บ"]),
        ("ﾊﾞｶﾞﾝ", ["ﾊﾞ", "ｶﾞ", "ﾝ"]),
        (" ไทย and ไทย", [" ไ", "ท", "ย", " and", " ไ", "ท", "ย"]),
        ("xไx", ["x", "ไ", "x"]),
        ("ཀྲུང་གོ", ["ཀྲུ", "ང", "་", "གོ"]),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    for cut in (by_code_points, by_bytes):
        places = [0, *asked_at(text, cut(text)), len(text)]
        assert [text[a:b] for a, b in itertools.pairwise(places)] == words


def test_a_word_begins_only_where_a_token_does() -> None:
    text = "สวัสดีครับ"
    assert asked_at(text, [t.encode() for t in ("สวัส", "ดี", "ครับ")]) == [4, 6]
    assert asked_at(text, [t.encode() for t in ("สวั", "สด", "ีครับ")]) == [
        3
    ]  # a vowel sign is no word


def test_a_draft_may_begin_inside_of_a_character() -> None:
    assert asked_at("\u0e31นกิน", by_code_points("\u0e31นกิน"), "ว") == [1, 2, 4]
    flags = Draft("ก🇫".encode(), 9)
    assert begins_character("ก🇫🇷🇩🇪", 3)
    flags.text, flags._tokens = "🇷🇩🇪", [1, 2]
    assert list(flags.token_starts()) == [1]


mixed = st.lists(
    st.one_of(
        st.sampled_from(
            ["ที่", "ກໍ", "ខ្មែ", "မြ", "བོ", "ﾊﾞ", "ꦗꦮꦶ", "東", "か\u3099", "👩🏽\u200d🚀", "🇫🇷"]
        ),
        st.sampled_from([" ", "\n", "a", "e\u0301", "the", "\u200b", "한", "각"]),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)


@given(mixed, st.data())
def test_no_character_is_ever_split(text: str, data: st.DataObject) -> None:
    code = text.encode()
    places = sorted(data.draw(st.sets(st.integers(0, len(code)), max_size=12)) | {0, len(code)})
    tokens = [code[a:b] for a, b in itertools.pairwise(places)]
    if not code:
        return
    regex = pytest.importorskip("regex")
    whole = set(itertools.accumulate(map(len, regex.findall(r"\X", text))))
    plain = {at for at in range(len(text)) if word_start(text, at - 1, "any") == at}
    for at in asked_at(text, tokens):
        assert at in plain or (at in whole and len(text[:at].encode()) in places)


@given(mixed.filter(bool), st.integers(1, 3), st.integers(1, 3), st.integers(4, 20))
@settings(max_examples=60)
def test_models_that_agree_write_the_text_whatever_it_is(
    text: str, base: int, nudge: int, lookahead: int
) -> None:
    code = ("x" + text + "x").encode()
    tokens = [[code[at : at + n] for at in range(0, len(code), n)] for n in (base, nudge)]
    answer(code.decode(), *tokens, lookahead=lookahead, guards="none")


def test_importing_us_does_not_load_the_tables() -> None:
    code = "import sys, nudging; print('regex' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@given(st.text("ab é—.", max_size=40))
def test_words_are_what_white_space_divides(text: str) -> None:
    assert count_words(text) == len(text.split())


def test_in_scripts_without_spaces_each_character_is_a_word() -> None:
    assert [count_words(text) for text in ("กรุงเทพ", "東京は a b", "ｱｲｳ", "ບ້ານ")] == [7, 5, 3, 4]
