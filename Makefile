# epsim: one non-recursive Makefile.
#
#   make deps            install the Debian/Ubuntu packages that building needs
#   make all             build ./epsim
#   make real            build ./epsim-real: MPI, and NCCL where CUDA is found
#   make real-bundle     the same for a GPU host without a package index, as one archive (ARCH=90: sm_90)
#   make demo            predict DeepSeek-V3's expert parallelism, beside what was published
#   make test            lint, and every suite twice: as released, and under the sanitizers
#   make fuzz            the readers of foreign files under libFuzzer, FUZZ_S seconds each (clang)
#   make accuracy        predicted against the published rows in the tree: README's tables
#   make validate        MPI ranks here: fitted on half of the points, judged on the rest (validate-net: over shaped links)
#   make presets         refit the presets to published rows (MEASURED="FILE.csv ...")
#   make bench           speed and memory of the engines
#   make lint            the house rules that a program can check: includes, sizes, names
#   make tidy            clang-tidy and cppcheck, where they are; some minutes
#   make format install clean
#
# V=1 shows whole commands.#
# VARIANT=release|debug|san chooses the flavour; each has its own folder under build/.
# CC=clang builds as well as gcc.

VARIANT ?= release
V ?= 0
BUILD := build/$(VARIANT)
PREFIX ?= /usr/local

VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)

PKGS := gsl yaml-0.1 jansson zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lcsv -lm
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wmissing-prototypes \
        -Wstrict-prototypes -Wwrite-strings -Wcast-align -Wundef -Wformat=2 -Werror
OPT.release := -O2 -g
OPT.debug := -O0 -g3
OPT.san := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_ALL := -std=c17 -D_GNU_SOURCE $(WARN) $(OPT.$(VARIANT)) -ffp-contract=off -fopenmp \
              -I. -I$(BUILD)/gen $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(OPT.$(VARIANT)) -fopenmp $(LDFLAGS)

# The real backend: MPI on host memory always; NCCL where nvcc and NCCL are found (CUDA=0: not).
CUDA ?= $(if $(and $(shell command -v nvcc),$(wildcard $(CUDA_HOME)/include/nccl.h)),1,0)
CUDA_HOME ?= $(abspath $(dir $(shell command -v nvcc 2>/dev/null))..)
# NCCL EP's header, for the backends that load the library at run time; none: they are left out.
NCCL_EP_HOME ?= $(abspath build/nccl-ep)
NCCL_EP := $(and $(filter 1,$(CUDA)),$(wildcard $(NCCL_EP_HOME)/include/nccl_ep.h))
MPI_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags ompi-c 2>/dev/null))
MPI_LIBS := $(shell pkg-config --libs ompi-c 2>/dev/null)
BLAS_CFLAGS := $(patsubst %,-isystem %,$(firstword $(wildcard \
    /usr/include/*/openblas-serial /usr/include/*/openblas-pthread)))
BLAS_LIBS := -lopenblas

ROOMS := base model traces sim scenario study plots
# A room's C files: its own, and those of its subfolders.
room_sources = $(sort $(foreach room,$(1),$(wildcard $(room)/*.c $(room)/*/*.c)))
LIB_SRC := $(call room_sources,$(ROOMS))
CLI_SRC := $(sort $(wildcard cli/*.c))
TEST_SRC := $(sort $(wildcard tests/test_*.c))
PRESETS := $(sort $(wildcard model/presets/*/*.yaml))
FIGURES := $(sort $(wildcard plots/*.gp))
# Fits that need no rows but one's own: found by name.
FITS := $(patsubst %,study/fits/%.yaml,deepep nccl-rates nccl-tests probe)

LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o) $(BUILD)/gen/embedded_files.o
CLI_OBJ := $(CLI_SRC:%.c=$(BUILD)/%.o)
TEST_OBJ := $(TEST_SRC:%.c=$(BUILD)/%.o)
REAL_C := $(filter-out $(wildcard real/check_cuda*.c) $(if $(filter 1,$(CUDA)),, \
    $(wildcard real/cuda*.c real/nccl*.c)) $(if $(NCCL_EP),,$(wildcard real/nccl_ep*.c)), \
    $(sort $(wildcard real/*.c)))
KERNEL_OBJ := $(patsubst %.cu,$(BUILD)/%.o,$(sort $(wildcard real/*.cu)))
REAL_OBJ := $(REAL_C:%.c=$(BUILD)/%.o) $(if $(filter 1,$(CUDA)),$(KERNEL_OBJ))
REAL_MAIN := $(BUILD)/real/main.o
CUDA_LIBS := $(if $(filter 1,$(CUDA)),-L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib -lnccl -lcublas -lcudart)
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)

quiet = $(if $(filter 1,$(V)),,@echo '  $(1) $@' &&)

.DELETE_ON_ERROR:
.PRECIOUS: $(BUILD)/%.o
.PHONY: all real nccl-ep real-bundle deps demo presets accuracy check-accuracy validate validate-net test fuzz check-fuzz check-pt check check-san check-real check-bundle check-extrapolation check-nodes check-halves heldout check-kernels check-recipes check-form golden bench lint tidy format install clean

all: epsim

ifeq ($(VARIANT),release)
epsim: $(BUILD)/epsim
	cp $< $@.tmp && mv $@.tmp $@
else
epsim: $(BUILD)/epsim
endif

$(BUILD)/epsim: $(CLI_OBJ) $(BUILD)/libepsim.a
	$(call quiet,LD)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(BUILD)/libepsim.a: $(LIB_OBJ)
	$(call quiet,AR)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# A file that changes only when this text does, so that what depends on it is rebuilt then.
keep_text = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@

$(BUILD)/gen/version.txt: FORCE
	$(call keep_text,$(VERSION))
$(BUILD)/base/embedded.o: CFLAGS_ALL += -DEPSIM_VERSION='"$(VERSION)"'
$(BUILD)/base/embedded.o: $(BUILD)/gen/version.txt
FORCE:

# Presets and figure scripts are files in the tree, and bytes in the binary.
# A file that is gone leaves the list, and no other is newer.
$(BUILD)/gen/embedded_list.txt: FORCE
	$(call keep_text,$(PRESETS) $(FIGURES) $(FITS))
$(BUILD)/gen/embedded_files.c: base/embed.sh $(BUILD)/gen/embedded_list.txt $(PRESETS) $(FIGURES) $(FITS)
	@mkdir -p $(@D)
	sh base/embed.sh $(PRESETS) $(FIGURES) $(FITS) > $@
$(BUILD)/gen/embedded_files.o: $(BUILD)/gen/embedded_files.c
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) -c -o $@ $<

deps:
	sh tests/deps.sh

demo: deps
	$(MAKE) all
	sh tests/demo.sh

# Tests: the house rules, the suites, golden runs and the real backend as released, and the suites
# under ASan and UBSan. Ranks of MPI poll, so they are not run beside others; all else shares the
# processors, one job each, by threads that sleep while they wait.
JOBS ?= $(shell nproc)
test: export OMP_WAIT_POLICY := passive
test: deps
	$(MAKE) -j$(JOBS) lint epsim epsim-real $(TEST_BIN)
	$(MAKE) check-real check-bundle
	$(MAKE) -j$(JOBS) -O check-extrapolation check-san check golden check-accuracy check-pt check-fuzz

# JOBS suites at a time.
check: $(TEST_BIN) $(BUILD)/epsim
	sh tests/run.sh $(JOBS) $(BUILD) $(TEST_BIN)

check-san:
	$(MAKE) VARIANT=san check

# The six steps over MPI on this machine, against a float64 reference; and rows that are damaged on their way.
check-real: epsim epsim-real $(BUILD)/tests/flip.so
	EPSIM=./epsim sh tests/real.sh ./epsim-real
	sh tests/flips.sh ./epsim-real $(BUILD)/tests/flip.so

$(BUILD)/tests/flip.so: tests/flip.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(filter-out -fopenmp,$(CFLAGS_ALL)) $(MPI_CFLAGS) -fPIC -shared -o $@ $<

# The archive for hosts without a package index, and what cuts its libraries down, on tiny libraries.
check-bundle:
	sh tests/bundle.sh

# Predicted against every published row that is in the tree: prints README's tables, and puts them there.
accuracy: epsim
	sh study/accuracy_table.sh ./epsim --write
	sh study/kernel_table.sh ./epsim $(KERNELS) --write

# Whether README's tables are what epsim says now.
check-accuracy: epsim
	sh study/accuracy_table.sh ./epsim --check
	sh study/kernel_table.sh ./epsim $(KERNELS) --check

# MPI ranks on this machine: half of the points fitted, the other half predicted; some minutes, with nothing else running.
validate: epsim epsim-real
	sh real/validate.sh ./epsim ./epsim-real $(BUILD)/validate

# The same over shaped network namespaces: root, ip and tc.
validate-net: epsim epsim-real
	sh real/validate_net.sh ./epsim ./epsim-real $(BUILD)/validate-net

# Refits the presets' constants to published rows that the project may not ship.
MEASURED ?= ../shared/data/measured.csv ../shared/data/added.csv
KERNELS ?= ../shared/data/kernels.csv
presets: epsim
	sh study/fits/presets.sh ./epsim $(MEASURED)
	sh real/results/hopper/presets.sh
	if [ -f $(KERNELS) ]; then sh study/fits/kernels.sh ./epsim $(KERNELS) $(BUILD)/kernels && \
	    cp $(BUILD)/kernels/kernels/*.yaml model/presets/kernels/ && \
	    cp $(BUILD)/kernels/fits/*.yaml model/presets/fits/; fi

# Compute kernels: fitted on two thirds of the kernel times, judged on the third; some minutes.
check-kernels: epsim
	sh tests/kernels.sh ./epsim $(KERNELS)

# Rows held out before fitting, a part at a time.
heldout: epsim
	sh tests/heldout.sh ./epsim $(MEASURED)

# Many nodes from few, and fits on half of the rows, where the published rows are at hand.
check-extrapolation: check-nodes check-halves
check-nodes: epsim
	sh tests/extrapolate.sh ./epsim $(MEASURED)
check-halves: epsim
	sh tests/refit.sh ./epsim $(MEASURED)

# Recipes of traces with all their layers, five seeds, against what was published; some minutes.
check-recipes: $(BUILD)/tests/check_recipes
	$<

# The closed form against the simulator on 10,000 random questions, and on expected loads against the mean over seeds;
# some twenty minutes of processor time.
check-form: $(BUILD)/tests/check_form $(BUILD)/tests/check_expected
	$(BUILD)/tests/check_form
	$(BUILD)/tests/check_expected

# SGLang's recorder files, where PyTorch is: PYTHON names an interpreter that has it.
check-pt: epsim
	EPSIM=./epsim sh tests/sglang_pt.sh

# Targets are built by clang whatever CC is, in a folder of their own and without OpenMP: one input, one thread.
# FUZZ_S: seconds for each target; check-fuzz is a short run over all.
FUZZ_S ?= 60
FUZZ_CC ?= clang
FUZZ := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
HAS_FUZZER = mkdir -p build/fuzz && echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' | \
             $(FUZZ_CC) -fsanitize=fuzzer,address,undefined -x c - -o build/fuzz/probe 2>/dev/null

fuzz:
	$(MAKE) $(FUZZ)
	sh tests/fuzz.sh build/fuzz $(FUZZ_S) $(FUZZ_TARGETS)

check-fuzz:
	@if $(HAS_FUZZER); then $(MAKE) fuzz FUZZ_S=5; else \
	echo "fuzz: skipped: no clang with libFuzzer (FUZZ_CC=$(FUZZ_CC))"; fi

FUZZ_FLAGS := -std=c17 -D_GNU_SOURCE $(WARN) -Wno-unknown-pragmas -O1 -g -fsanitize=address,undefined \
              -fno-sanitize-recover=all -fno-omit-frame-pointer -ffp-contract=off -I. -I$(BUILD)/gen $(PKG_CFLAGS)

build/fuzz/lib/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

build/fuzz/lib/base/embedded.o: FUZZ_FLAGS += -DEPSIM_VERSION='"fuzz"'

build/fuzz/lib/gen/embedded_files.o: $(BUILD)/gen/embedded_files.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(FUZZ_CC) $(FUZZ_FLAGS) -c -o $@ $<

FUZZ_LIB := $(patsubst %.c,build/fuzz/lib/%.o,$(call room_sources,base model traces scenario sim study)) \
            build/fuzz/lib/gen/embedded_files.o
.PRECIOUS: build/fuzz/lib/%.o

# An archive, so that what needs OpenMP and no target calls is left out.
build/fuzz/libepsim.a: $(FUZZ_LIB)
	$(call quiet,AR)rm -f $@ && ar rcs $@ $^

build/fuzz/fuzz_%: build/fuzz/lib/tests/fuzz/fuzz_%.o build/fuzz/libepsim.a
	$(call quiet,LD)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(PKG_LIBS)

golden: $(BUILD)/epsim
	sh tests/golden.sh $(BUILD)/epsim

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libepsim.a
	$(call quiet,LD)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(CHECK_LIBS) $(PKG_LIBS)

# The same program on real machines; STATIC=1 links all but MPI, CUDA and NCCL statically, so that the binary runs
# where GSL and the others are not installed.
comma := ,
static = $(if $(STATIC),-Wl$(comma)-Bstatic $(1) -Wl$(comma)-Bdynamic,$(1))
REAL_PKG_LIBS = $(call static,$(BLAS_LIBS) -lgsl -lgslcblas -lyaml -ljansson -lcsv) -lm

real: epsim-real

epsim-real: $(BUILD)/epsim-real
	cp $< $@.tmp && mv $@.tmp $@

REAL_LIBS = $(REAL_PKG_LIBS) $(MPI_LIBS) $(CUDA_LIBS) -lm
$(BUILD)/epsim-real: $(REAL_OBJ) $(BUILD)/libepsim.a $(BUILD)/gen/real_libs.txt
	$(call quiet,LD)$(CC) $(LDFLAGS_ALL) -o $@ $(filter-out %.txt,$^) $(REAL_LIBS)

# STATIC=1 after a build without it links anew.
$(BUILD)/gen/real_libs.txt: FORCE
	$(call keep_text,$(REAL_LIBS))

# NVIDIA's NCCL EP library, the NCCL that it needs, and their headers, as a prefix. pip needs a package index, once.
nccl-ep:
	sh real/nccl_ep.sh build/nccl-ep

# epsim-real and that library for GPUs of one architecture (ARCH=90: sm_90), with the scripts that measure, as one
# archive. WITHOUT_NCCL_EP=1: the binary and the scripts alone.
ARCH ?= 90
real-bundle:
	$(if $(WITHOUT_NCCL_EP),,$(MAKE) nccl-ep)
	$(MAKE) STATIC=1 $(BUILD)/epsim-real
	sh real/bundle.sh $(if $(WITHOUT_NCCL_EP), \
	    --without-nccl-ep $(BUILD)/epsim-real $(BUILD)/epsim-real.tar.xz, \
	    --arch $(ARCH) $(BUILD)/epsim-real $(BUILD)/epsim-real-sm_$(ARCH).tar.xz)

NVCC ?= nvcc
CUDA_ARCH ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 \
             -gencode arch=compute_100,code=sm_100 -gencode arch=compute_100,code=compute_100
$(KERNEL_OBJ): $(BUILD)/%.o: %.cu real/kernels.h real/units.cuh real/device.h real/values.h
	@mkdir -p $(@D)
	$(call quiet,NVCC)$(NVCC) -O3 -std=c++17 $(CUDA_ARCH) \
	    -Xcompiler -Wall,-fno-exceptions,-fno-threadsafe-statics -I. -c -o $@ $<

# Checks and times the CUDA kernels alone, on a machine with a GPU.
CHECK_CUDA_OBJ := $(patsubst %,$(BUILD)/real/%.o,check_cuda_device host cuda cuda_ffn cuda_status)
$(BUILD)/check_cuda $(BUILD)/check_cuda_speed: $(BUILD)/%: $(BUILD)/real/%.o $(CHECK_CUDA_OBJ) \
    $(KERNEL_OBJ) $(BUILD)/base/error.o $(BUILD)/base/mem.o
	$(call quiet,LD)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call static,$(BLAS_LIBS)) $(CUDA_LIBS) -lm

REAL_CFLAGS := $(MPI_CFLAGS) $(BLAS_CFLAGS) \
    $(if $(filter 1,$(CUDA)),-DEPSIM_CUDA -isystem $(CUDA_HOME)/include) \
    $(if $(NCCL_EP),-DEPSIM_NCCL_EP -isystem $(NCCL_EP_HOME)/include)
$(BUILD)/real/%.o: CFLAGS_ALL += $(REAL_CFLAGS)
$(BUILD)/gen/real_cflags.txt: FORCE
	$(call keep_text,$(REAL_CFLAGS))
$(REAL_C:%.c=$(BUILD)/%.o): $(BUILD)/gen/real_cflags.txt
$(BUILD)/tests/test_device: $(filter %/host.o %/reference.o,$(REAL_OBJ))
$(BUILD)/tests/test_checksum: $(filter %/host.o,$(REAL_OBJ))
$(BUILD)/tests/test_slice: $(BUILD)/real/slice.o
$(BUILD)/tests/test_device $(BUILD)/tests/test_checksum: PKG_LIBS += $(BLAS_LIBS)

bench: $(BUILD)/tests/bench $(BUILD)/epsim
	$(BUILD)/tests/bench $(BUILD)/epsim

lint:
	sh tests/guards.sh
	sh tests/guards_test.sh

TIDY_FLAGS := $(filter-out -fopenmp,$(CFLAGS_ALL))

tidy:
	@if command -v clang-tidy >/dev/null; then \
	    printf '%s\n' $(LIB_SRC) $(CLI_SRC) $(TEST_SRC) | \
	        xargs -P "$$(nproc)" -I FILE clang-tidy --quiet FILE -- $(TIDY_FLAGS); \
	else echo "tidy: skipped: no clang-tidy"; fi
	@if command -v cppcheck >/dev/null; then \
	    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	        --suppress=missingIncludeSystem --error-exitcode=1 -I. $(ROOMS) cli real; \
	else echo "tidy: skipped: no cppcheck"; fi

format:
	clang-format -i $(LIB_SRC) $(CLI_SRC) $(TEST_SRC) $(wildcard */*.h */*/*.h) $(wildcard real/*.c)

install: all
	install -D epsim $(DESTDIR)$(PREFIX)/bin/epsim

clean:
	rm -rf build epsim epsim-real demo

-include $(FUZZ_LIB:.o=.d) $(wildcard $(BUILD)/real/*.d) $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(wildcard $(BUILD)/tests/*.d)
