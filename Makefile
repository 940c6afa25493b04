# SPDX-License-Identifier: LGPL-2.1-or-later
# What people type. The build itself is Meson's (meson.build); this installs what it needs, calls it, and runs things.
#
#   make demo           a real guest in the lab, pinged, its console shown
#   make test           all unit and integration tests; SANITIZE=1: under ASan and UBSan
#   make                builds
#   make help           the rest

BUILD ?= $(if $(SANITIZE),build-asan,build)
comma := ,
MESON_OPTIONS = $(if $(SANITIZE),-Db_sanitize=address$(comma)undefined)
IMAGE := build/guest-image

export GW_BUILD_DIR := $(CURDIR)/$(BUILD)
export GW_GUEST_IMAGE_DIR := $(CURDIR)/$(IMAGE)

.PHONY: all build setup image demo test test-unit test-integration soak bench check-style fuzz install clean help

all: build

help:
	@echo 'make                  build'
	@echo 'make demo             run a real guest in the lab'
	@echo 'make test             every test (SANITIZE=1: under ASan and UBSan)'
	@echo 'make test-unit        unit tests only (SANITIZE=1 likewise)'
	@echo 'make test-integration integration tests only; TESTS="-k adopt" chooses'
	@echo 'make soak             long tests: the full Debian guest'
	@echo 'make bench            motions by godwit and by QEMU alone, compared; QUICK=1: in four minutes'
	@echo 'make check-style      clang-format and clang-tidy'
	@echo 'make fuzz             each fuzz target for FUZZ_SECONDS (60)'
	@echo 'make install          install below PREFIX (/usr/local); DESTDIR counts'
	@echo 'make clean            remove what was built'

setup:
	@scripts/setup build run test

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) $(MESON_OPTIONS) $(if $(PREFIX),--prefix $(PREFIX)) >$(BUILD).setup.log 2>&1 || { cat $(BUILD).setup.log; exit 1; }
	@rm -f $(BUILD).setup.log

build: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

# The guest's programs are never sanitized, so any build directory's will do.
image: build
	@lab/guest/build-image --output $(IMAGE) --workloads $(BUILD)/lab/guest/workload \
		--tiny $(BUILD)/lab/guest/tiny/tiny.elf

demo: image
	@lab/demo

test: image
	@scripts/run-tests $(BUILD) unit integration

test-unit: build
	@scripts/run-tests $(BUILD) unit

test-integration: image
	@scripts/run-tests $(BUILD) integration $(TESTS)

soak: image
	@scripts/setup soak
	@scripts/run-tests $(BUILD) soak $(TESTS)

bench: image
	@scripts/setup bench
	@tests/bench/bench $(if $(QUICK),--quick) $(BENCH)

check-style:
	@scripts/setup build style
	@$(MAKE) --no-print-directory build
	@scripts/check-style $(BUILD)

fuzz: build
	@scripts/setup fuzz
	@scripts/fuzz $(or $(FUZZ_SECONDS),60)

install: build
	@$(if $(PREFIX),meson configure $(BUILD) --prefix $(PREFIX) && ninja -C $(BUILD) --quiet,true)
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-asan build-fuzz
