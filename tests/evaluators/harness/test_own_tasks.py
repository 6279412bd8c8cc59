"""Tasks of all kinds, as people bring them: lm-eval's prompts, answers and scores, or a refusal in one line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.fast import FastEngine
from exme.evaluators.harness import (
    Judge,
    StockEngine,
    check_prompts,
    hf_model,
    lm_eval_scores,
)
from exme.evaluators.harness.interface import PLAIN
from exme.search.scoring.probing import seconds_per_document
from exme.tasks.errors import UserError
from tests.helpers.models.own_tasks import (
    CHOICE,
    GENERATE,
    by_question,
    hashed,
    lossy,
    rows_of,
    write_suite,
)
from tests.helpers.models.small_models import make_model, tokenizer

ROWS = {split: rows_of(split) for split in ("train", "test", "dev")}
# One document, which may not be chosen, has other types than all others.
ODD = {
    split: [
        {**r, "x": 0.5 if i == 11 else 1, "o": {"w5": 2} if i == 11 else {"w4": 1}}
        for i, r in enumerate(rows)
    ]
    for split, rows in ROWS.items()
}
# A question and an answer that are numbers, as datasets reads them.
NUMBERS = {
    split: [
        {**r, "question": 5 if i == 11 else r["question"], "answer": 7 if i == 12 else r["answer"]}
        for i, r in enumerate(rows)
    ]
    for split, rows in ROWS.items()
}
# Questions of several parts, of which some are missing in some documents, and dates, which datasets reads as such.
PARTS = {
    split: [
        {
            **r,
            "turns": [{"who": f"w{j}", "said": [r["question"]] * j} for j in range(i % 3)],
            "told": {"w1": [i, None, "w2"], "w3": {"w4": 0.5 * i}} if i % 4 else None,
            "mixed": [r["answer"], i, None] if i == 7 else r["answer"],
            "day": f"2024-01-{i + 1:02d}",
            "days": [f"2024-01-{i + 1:02d}T10:00:00Z"],
            "written": f"2024-01-{i + 1:02d}" if i else "w5",
        }
        for i, r in enumerate(rows)
    ]
    for split, rows in ROWS.items()
}
SHOWN = ("turns", "told", "mixed", "day", "days", "written")
SHUFFLE = "def docs(ds): return ds.shuffle(seed=3)\n"
FILTER = "def docs(ds): return ds.filter(lambda d: d['gold'] != 1)\n"
MAP = """
def docs(ds):
    return ds.map(lambda d: {"question": d["question"] + " w9", "choices": d["choices"],
                             "gold": d["gold"]}, remove_columns=ds.column_names)
"""
DRAWN = """
import random
def docs(ds):
    return ds.map(lambda d: {"question": d["question"] + " w" + str(random.randrange(44))})
"""


@pytest.fixture(scope="module")
def model_and_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = make_model(tmp_path_factory.mktemp("model") / "base", dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def processed(task: dict[str, Any]) -> dict[str, Any]:
    return {**task, "process_docs": "!function functions.docs"}


@pytest.mark.parametrize(
    ("task", "functions", "rows"),
    [
        (CHOICE, "", ROWS),
        ({**CHOICE, "doc_to_text": "{{question}} {{x}} {{o}}"}, "", ODD),
        (
            {**CHOICE, "doc_to_text": "{{question}} " + " ".join(f"{{{{{c}}}}}" for c in SHOWN)},
            "",
            PARTS,
        ),
        (processed(CHOICE), SHUFFLE, ROWS),
        (processed(CHOICE), FILTER, ROWS),
        (processed(CHOICE), MAP, ROWS),
        (lossy("nll"), "", ROWS),
        (hashed(GENERATE), "", ROWS),
        (hashed(GENERATE), "", NUMBERS),
        (hashed({**GENERATE, "generation_kwargs": {"until": [""], "max_gen_toks": 6}}), "", ROWS),
        (hashed({**GENERATE, "generation_kwargs": {"until": [" "], "max_gen_toks": 6}}), "", ROWS),
        (hashed({**GENERATE, "generation_kwargs": {"until": "w7", "max_tokens": 5}}), "", ROWS),
    ],
    ids=[
        "choices",
        "types of a column differ",
        "lists, objects and dates",
        "shuffled",
        "filtered",
        "rewritten",
        "a loss",
        "generated",
        "a number for a question and for an answer",
        "an empty stop string",
        "a space",
        "another name for the limit",
    ],
)
def test_prompts_answers_and_scores_are_lm_evals_over_the_whole_split(
    task: dict[str, Any],
    functions: str,
    rows: dict[str, Any],
    tmp_path: Path,
    model_and_tokenizer: tuple[Any, Any],
) -> None:
    suite = write_suite(tmp_path, task, functions=functions, rows=rows)
    theirs = suite.lm_eval(*model_and_tokenizer)
    prompts = by_question(theirs, lambda s: s["arguments"][0][0])
    metric = task["metric_list"][0]["metric"]
    values = by_question(theirs, lambda s: s[metric])
    answers = by_question(theirs, lambda s: s["resps"][0][0])
    for count in (4, 16):  # few of a document's neighbours, and most of them
        documents = suite.documents(search=count)
        judge = Judge(documents, "search")
        stock = StockEngine(*model_and_tokenizer, 4)
        for engine in (stock, FastEngine(stock)):
            found = judge.score(engine)
            scale = found.scores.scale
            assert len(judge.documents) == count
            for place, request in enumerate(judge.requests):
                question = request[0].doc["question"]
                assert str(question).startswith(str(judge.documents[place].row["question"]))
                assert request[0].args[0] == prompts[question]
                assert scale.turn(found.scores.values[place]) == pytest.approx(
                    values[question], abs=1e-4
                )
                if judge.longest_answer:
                    assert found.answers[place] == answers[question]


def test_what_a_task_draws_is_the_same_in_every_process(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, processed(CHOICE), functions=DRAWN)
    random.seed(5)
    first = Judge(suite.documents(), "search").prompts
    state = random.getstate()
    assert Judge(suite.documents(), "search").prompts == first
    assert random.getstate() == state  # what else draws is not disturbed


@pytest.mark.parametrize("metric", ["err", "nll"])
def test_scores_of_a_metric_that_is_better_when_lower_are_better_when_higher(
    metric: str, tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
) -> None:
    suite = write_suite(tmp_path, lossy(metric))
    theirs = suite.lm_eval(*model_and_tokenizer)
    documents = suite.documents(search=None)
    assert documents.suite.higher_is_better is False
    scores = Judge(documents, "search").score(StockEngine(*model_and_tokenizer, 4)).scores
    values = by_question(theirs, lambda s: s[metric])
    by_value = sorted(values, key=lambda q: values[q])
    questions = [d.row["question"] for d in documents.search]
    by_score = dict(zip(questions, scores.values, strict=True))
    assert [values[q] for q in sorted(by_score, key=lambda q: -by_score[q])] == pytest.approx(
        [values[q] for q in by_value], abs=1e-5
    )
    assert scores.scale.turn(scores.mean) == pytest.approx(
        theirs["results"]["own_alone"][f"{metric},none"], abs=1e-5
    )
    assert (set(scores.values) == {0.0, 1.0}) == (metric == "err")


# Few-shot examples -------------------------------------------------------------------------------


def test_examples_of_a_split_are_never_scored_and_the_same_for_every_document(
    tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
) -> None:
    suite = write_suite(tmp_path, CHOICE, fewshot={"split": "train", "count": 3})
    documents = suite.documents(search=None, report=None)
    examples = [r["question"] for r in ROWS["train"][:3]]
    assert not {d.row["question"] for d in documents.search} & set(examples)
    for split in ("search", "report"):
        for document, prompt in zip(
            documents.of(split), Judge(documents, split).prompts, strict=True
        ):
            assert prompt.count(document.row["question"]) == 1
            assert all(example in prompt for example in examples)


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"fewshot_split": "test"},
        {"fewshot_split": "train"},
        {"training_split": "train"},
        {"fewshot_config": {"sampler": "first_n"}},
    ],
)
def test_a_task_whose_own_examples_may_be_scored_is_refused(
    own: dict[str, Any], tmp_path: Path
) -> None:
    task = {**CHOICE, "num_fewshot": 2, **own}
    with pytest.raises(UserError, match=r"count is 0, .* shows 2 examples"):
        write_suite(tmp_path, task).documents()
    with pytest.raises(UserError, match=r"`fewshot: \{split: \w+, count: 2\}`"):
        write_suite(tmp_path, task, fewshot={"count": 2}).documents()


def test_examples_that_are_asked_for_and_not_there_are_missed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"count is 2, .* shows 0 examples"):
        write_suite(tmp_path, CHOICE, fewshot={"count": 2}).documents()


def test_examples_drawn_from_a_tasks_own_list_depend_on_the_document_alone(tmp_path: Path) -> None:
    own = {"num_fewshot": 2, "fewshot_config": {"samples": ROWS["dev"][:6]}}
    suite = write_suite(tmp_path, {**CHOICE, **own}, fewshot={"count": 2})
    prompts = {}
    for count in (4, 20):
        documents = suite.documents(search=count)
        pairs = zip(documents.search, Judge(documents, "search").prompts, strict=True)
        prompts[count] = {d.id: prompt for d, prompt in pairs}
    assert prompts[4].items() <= prompts[20].items()
    shown = {prompt.rpartition("w1")[0] for prompt in prompts[20].values()}
    assert len(shown) > 5  # they are drawn anew for every document


# Refusals ----------------------------------------------------------------------------------------


def generated(**settings: Any) -> dict[str, Any]:
    return {**GENERATE, "generation_kwargs": {"until": ["w7"], "max_gen_toks": 6, **settings}}


ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{question}}",
    "metric_list": [{"metric": "word_perplexity"}],
}
ACC = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
LIKELY = {**GENERATE, "output_type": "loglikelihood"}
PAIR = {
    **CHOICE,
    "process_results": "!function functions.pair",
    "metric_list": [{"metric": "pair", "aggregation": "mean", "higher_is_better": True}],
}
GAPS = {
    **PAIR,
    "metric_list": [{"metric": "pair", "aggregation": "nanmean", "higher_is_better": True}],
}


SILENT = {
    **CHOICE,
    "process_results": "!function functions.words",
    "metric_list": [{"metric": "word_err", "aggregation": "mean"}],
}
WORDS = "def words(doc, results): return {'word_err': 0.5}\n"


def put_together(how: str) -> tuple[dict[str, Any], dict[str, Any], str, str]:
    """A task whose metric is put together by a function that is no mean of all documents."""
    metric = {"metric": "nll", "aggregation": "!function functions.put", "higher_is_better": False}
    task = {**lossy("nll"), "metric_list": [metric]}
    return task, {}, f"def put(x): {how}\n", "'nll'.*over all documents together.*aggregation put"


def metrics(task: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**task, "metric_list": [{"metric": name} for name in names]}


@pytest.mark.parametrize(
    ("task", "suite", "functions", "match"),
    [
        (metrics(CHOICE, "f1", "acc"), {}, "", r"'f1'.*aggregation f1.*have: acc\)"),
        (metrics(CHOICE, "mcc"), {}, "", r"'mcc'.*over all documents together.*it has none"),
        (metrics(CHOICE, "brier_score"), {}, "", "aggregation brier_score"),
        (metrics(GENERATE, "bleu"), {}, "", "aggregation bleu"),
        (metrics(GENERATE, "chrf"), {}, "", "aggregation chrf"),
        (metrics(GENERATE, "ter"), {}, "", "aggregation ter"),
        (metrics(LIKELY, "perplexity", "acc"), {}, "", r"'perplexity'.*have: acc\)"),
        (ROLLING, {}, "", "rolling log-likelihoods.*'word_perplexity'"),
        (metrics(ROLLING, "bits_per_byte"), {}, "", "rolling log-likelihoods"),
        (GAPS, {}, "", r"'pair'.*has documents without a score \(aggregation nanmean\)"),
        (PAIR, {}, "", r"'pair'.* gives a tuple for a document.*have: one"),
        (metrics(CHOICE, "likelihood"), {}, "", "'likelihood'.* gives a tuple"),
        put_together("return min(1.0, max(0.0, sum(x) / len(x)))"),
        put_together("k = len(x) // 10; x = sorted(x)[k:len(x) - k]; return sum(x) / len(x)"),
        (SILENT, {}, WORDS, "neither it nor lm-eval task 'own' says whether 'word_err' is better"),
        (CHOICE, {"metric": "ac"}, "", "no metric 'ac'.*did you mean 'acc'"),
        (CHOICE, {"filter": "nonee"}, "", "no filter 'nonee'.*did you mean 'none'"),
        (lossy("err"), {"higher_is_better": True}, "", "higher_is_better is true, .* says false"),
        (generated(do_sample=True), {}, "", "do_sample is true with temperature 0.0"),
        (generated(do_sample=True, temperature=0), {}, "", "temperature 0.0; give"),
        (generated(max_gen_toks=0), {}, "", "max_gen_toks is 0"),
        (generated(max_gen_tok=3), {}, "", "no setting 'max_gen_tok'; did you mean 'max_gen_toks'"),
        (generated(until=[3]), {}, "", "until: 3 is no text"),
        (processed(CHOICE), {}, "def docs(ds): pass\n", "process_docs.*makes no documents"),
        (processed(CHOICE), {}, "def docs(ds): return list(ds)\n", "it returns a list"),
        (processed(CHOICE), {}, "def docs(ds): raise KeyError('x')\n", "KeyError: 'x'"),
        (
            processed(CHOICE),
            {},
            "import datasets\ndef docs(ds): return datasets.concatenate_datasets([ds, ds])\n",
            r"doubles documents \(48 of 24 come out\)",
        ),
        (
            processed(CHOICE),
            {},
            MAP.replace("ds.map", "ds.shuffle(seed=1).map"),
            "puts documents in another order",
        ),
    ],
)
def test_what_cannot_be_compared_or_answered_is_refused_by_name(
    task: dict[str, Any], suite: dict[str, Any], functions: str, match: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^suite 'own': .*{match}") as caught:
        write_suite(tmp_path, task, functions=functions, **suite).documents()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suite", "change", "match"),
    [
        (GENERATE, {"eos_token": None}, r"no end token \(eos_token\)"),
        ({**GENERATE, "doc_to_text": ""}, {}, "the prompt of document train/.* is empty"),
        (CHOICE, {"rows": 40}, r"has token 4\d \('w\d+'\).* has 40 rows"),
        (
            {**LIKELY, "doc_to_target": "", "metric_list": ACC},
            {},
            r"the answer '' to document train/",
        ),
        ({**LIKELY, "metric_list": ACC}, {}, "adds no token to its prompt.*begin with a space"),
        (generated(max_gen_toks=64), {}, "leave no room for a prompt in a context of 64"),
    ],
)
def test_a_model_that_cannot_take_the_prompts_is_refused(
    suite: dict[str, Any], change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "base", dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    words = tokenizer()
    if "eos_token" in change:
        words.eos_token = None
    if "rows" in change:
        model.resize_token_embeddings(change["rows"])
    judge = Judge(write_suite(tmp_path, suite).documents(search=None), "search")
    with pytest.raises(UserError, match=match):
        check_prompts(
            judge, StockEngine(model, words, 4), model.get_input_embeddings().num_embeddings
        )


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (
            "{'sc': float('nan') if doc['gold'] == 1 else 1.0}",
            r"score of document train/\d+ is not finite",
        ),
        ("{'sc': doc['nothing']}", r"the metric raised KeyError on document train/\d+: 'nothing'"),
    ],
    ids=["no number", "an error"],
)
def test_a_metric_that_breaks_on_an_inputs_answers_is_refused_before_the_first_trial(
    gives: str, said: str, tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
) -> None:
    metric = {"metric": "sc", "aggregation": "mean", "higher_is_better": True}
    task = {**CHOICE, "process_results": "!function functions.given", "metric_list": [metric]}
    functions = f"def given(doc, results): return {gives}\n"
    judge = Judge(write_suite(tmp_path, task, functions=functions).documents(), "search")
    with pytest.raises(
        UserError, match=f"^suite 'own': an input's answers cannot be scored .*{said}"
    ):
        seconds_per_document(judge, StockEngine(*model_and_tokenizer, 4), 8)


def test_a_document_that_cannot_be_scored_whatever_is_answered_is_named_before_the_search(
    tmp_path: Path,
) -> None:
    rows = {split: [dict(row) for row in some] for split, some in ROWS.items()}
    for place in (3, 11):
        rows["test"][place].pop("gold")
    suite = write_suite(tmp_path, CHOICE, rows=rows)
    with pytest.raises(UserError, match=r"raises TypeError .* on document test/\d+, and on 1 more"):
        suite.documents(report=None)
    picky = "def given(doc, results): return {'sc': 1.0 if results[0] == 'w1' else [][0]}\n"
    metric = {"metric": "sc", "aggregation": "mean", "higher_is_better": True}
    task = {**GENERATE, "process_results": "!function functions.given", "metric_list": [metric]}
    write_suite(
        tmp_path / "b", task, functions=picky
    ).documents()  # (made-up answers may be at fault)


def read_by(filter_: dict[str, Any]) -> dict[str, Any]:
    return {**GENERATE, "filter_list": [{"name": "none", "filter": [filter_]}]}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            read_by({"function": "take_first_k", "k": 2}),
            "raised AssertionError: Need at least 2 res",
        ),
        (
            read_by({"function": "regex", "regex_pattern": "("}),
            "raised .*rror: missing \\), unterm",
        ),
    ],
    ids=["more answers than are asked for", "no regular expression"],
)
def test_a_filter_that_breaks_on_an_inputs_answers_is_refused_before_the_first_trial(
    task: dict[str, Any], said: str, tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
) -> None:
    judge = Judge(write_suite(tmp_path, task).documents(), "search")
    with pytest.raises(UserError, match=f"^suite 'own': an input's answers .*'own' {said}"):
        seconds_per_document(judge, StockEngine(*model_and_tokenizer, 4), 8)


# Random answers ----------------------------------------------------------------------------------


def test_random_answers_are_the_same_in_every_run_whatever_else_is_asked(
    tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
) -> None:
    task = {**hashed(generated(do_sample=True, temperature=0.9)), "repeats": 2}
    documents = write_suite(tmp_path, task).documents(search=12)
    answers: list[tuple[str, ...]] = []
    drawn: list[list[Any]] = []
    for chosen in (None, None, [7, 2, 9]):
        judge = Judge(documents, "search")
        torch.manual_seed(len(answers))  # what was drawn before does not matter
        found = judge.score(StockEngine(*model_and_tokenizer, 4), chosen)
        answers.append(found.answers)
        drawn.append([judge.requests[p][0].resps for p in chosen or range(12)])
    assert answers[0] == answers[1]
    assert answers[2] == tuple(answers[0][p] for p in (7, 2, 9))
    assert len(set(answers[0])) > 6
    assert any(first != second for first, second in drawn[0])  # each repeat is drawn anew
    theirs = lm_eval_scores(documents, "search", hf_model(*model_and_tokenizer, 4), PLAIN)
    assert tuple(theirs.answers[d.id] for d in documents.search) == answers[0]


def test_a_random_answer_is_transformers_own_from_its_seed(
    tmp_path: Path, model_and_tokenizer: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, words = model_and_tokenizer
    task = hashed(generated(do_sample=True, temperature=0.9))
    judge = Judge(write_suite(tmp_path, task).documents(search=3), "search")
    seeds: list[int] = []
    plain = torch.manual_seed

    def noted(seed: int) -> torch.Generator:
        seeds.append(seed)
        return plain(seed)

    monkeypatch.setattr(torch, "manual_seed", noted)
    found = judge.score(StockEngine(model, words, 4))
    assert len(set(seeds)) == 3
    for seed, prompt, answer in zip(seeds, judge.prompts, found.answers, strict=True):
        ids = words(prompt, return_tensors="pt")
        plain(seed)
        out = model.generate(**ids, do_sample=True, temperature=0.9, max_new_tokens=6)
        text = words.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert answer == text.split("w7")[0]


def test_greedy_answers_beside_random_ones_are_lm_evals(
    tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
) -> None:
    greedy, drawn = (
        Judge(write_suite(tmp_path / name, hashed(task)).documents(), "search")
        for name, task in (("a", GENERATE), ("b", generated(do_sample=True, temperature=0.9)))
    )
    requests = [r for pair in zip(greedy.requests, drawn.requests, strict=True) for r in pair]
    flat = [request for asked in requests for request in asked]
    answers = StockEngine(*model_and_tokenizer, 4).generate_until(flat)
    plain = HFLM(pretrained=model_and_tokenizer[0], tokenizer=model_and_tokenizer[1], batch_size=4)
    alone = [r for asked in greedy.requests for r in asked]
    assert answers[::2] == plain.generate_until(alone, disable_tqdm=True)
