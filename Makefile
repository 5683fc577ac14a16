# semcast: `make help` lists what there is.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Everything the demo and the tests need; `EXTRAS=media,console make setup` leaves torch out.
EXTRAS ?= media,console,models,simulate,train,test,dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test check proto samples clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## build .venv with all that demo and tests need

$(VENV)/.ready: pyproject.toml constraints.txt deploy/system-packages.sh
	@command -v $(PYTHON) >/dev/null || { echo "semcast needs Python 3.11 or newer: install it, or name yours with 'make PYTHON=python3.12'" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing semcast and what it needs into $(VENV) (some minutes, some GB the first time)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@sh deploy/system-packages.sh
	@if $(BIN)/python -c "import av, constriction, cv2" 2>/dev/null; then \
		echo "Compiling the codecs (half a minute, once)..."; $(BIN)/python -m semcast.warm; fi
	@touch $@

demo: setup ## start everything and print the URL; ARGS="--scheme h264-ldpc"
	@$(BIN)/semcast demo $(ARGS)

test: setup ## run the tests; ARGS="-k ldpc"
	@$(BIN)/python -m pytest $(ARGS)

check: setup ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

proto: setup ## regenerate semcast/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. --grpc_python_out=. proto/semcast/v1/*.proto

samples: setup ## render the bundled samples again
	MUJOCO_GL=osmesa $(BIN)/python -m training.simulate.samples

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
