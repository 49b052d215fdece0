# The workshop. A fresh Debian 12 needs nothing but make and python3 with venv.
#
#   make run          set up and start the balancer with conf/site.ini in the foreground
#   make test         ruff, mypy, the unit suite, the live tests; one summary at the end
#   make test-floor   the unit suite on the versions of Debian 12
#   make bench        the comparison with nginx, HAProxy and name servers (QUICK=1: a short one, WRITE=1: into docs)
#   make lab          a small internet in namespaces, and a shell in each of its hosts (as root)
#   make soak         the property tests with SOAK times as many examples
#   make docs         docs/reference.md and docs/man/site.ini.5, from the options' declarations
#   make deb          the Debian package into dist/ (needs dpkg-dev, and what debian/control builds with)
#   make test-deb     that package on a machine of the test's own (root; debootstrap, lintian, systemd)
#   make news         what newsfragments/ adds up to, as the next release will tell it
#   make clean        remove what the other targets made

PYTHON ?= python3
VENV ?= .venv
FLOOR ?= .venv-floor
SITE ?= conf/site.ini
SOAK ?= 100
REFERENCE ?= -m balancer.site.reference

export PYTHONPATH := $(CURDIR)
PIP := -m pip --disable-pip-version-check install --quiet

# Debian 12's own versions; setuptools 81 dropped pkg_resources, which Twisted 22.4 imports.
FLOOR_VERSIONS := Twisted==22.4.0 attrs==22.2.0 zope.interface==5.5.2 service_identity==18.1.0 \
	six==1.16.0 pyOpenSSL==23.0.0 cryptography==38.0.4 prometheus_client==0.16.0 \
	maxminddb==2.2.0 'dnspython>=2.9' 'hypothesis>=6.100' 'setuptools<81'

.PHONY: help run test test-floor bench lab soak deb test-deb docs news clean
help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.run-ready
	$(VENV)/bin/twistd -n lb --config $(SITE)

test: $(VENV)/.test-ready
	@$(VENV)/bin/python -m tests.summary ruff mypy unit live

test-floor: $(FLOOR)/.ready
	@$(FLOOR)/bin/python -m tests.summary floor

bench: $(VENV)/.run-ready
	$(VENV)/bin/python -m tests.bench $(if $(QUICK),--quick) $(if $(WRITE),--write) $(BENCH)

lab: $(VENV)/.run-ready
	@$(VENV)/bin/python -m lab $(LAB)

soak: $(VENV)/.test-ready
	$(VENV)/bin/python -m tests.soak $(SOAK)

# Of the files that git knows, as they are now: nothing else that lies here gets into it.
# It is built with Debian's own Python and no other that PATH may lead to.
DEB_PATH := /usr/sbin:/usr/bin:/sbin:/bin
deb:
	rm -rf dist/build
	mkdir -p dist/build/balancer
	git ls-files -z | xargs -0 cp -P --parents -t dist/build/balancer
	cd dist/build/balancer && env -u PYTHONPATH PATH=$(DEB_PATH) dpkg-buildpackage -us -uc $(DEB)
	mv -f dist/build/balancer_* dist/
	rm -rf dist/build

test-deb: $(VENV)/.test-ready deb
	@$(VENV)/bin/python -m tests.summary appliance

docs: $(VENV)/.run-ready
	$(VENV)/bin/python $(REFERENCE) > docs/reference.md.new
	mv docs/reference.md.new docs/reference.md
	$(VENV)/bin/python $(REFERENCE) manual > docs/man/site.ini.5.new
	mv docs/man/site.ini.5.new docs/man/site.ini.5

news: $(VENV)/.test-ready
	@$(VENV)/bin/python -m towncrier build --draft --version next

clean:
	rm -rf $(VENV) $(FLOOR) dist _trial_temp* .mypy_cache .ruff_cache .hypothesis docs/reference.md.new docs/man/*.new
	find balancer lab tests twisted -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

# An environment is made anew only when what it is made from has changed.
$(VENV)/.run-ready: setup.cfg tests/requirements.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m tests.requirements > $(VENV)/run.txt
	$(VENV)/bin/python $(PIP) -r $(VENV)/run.txt
	@touch $@

$(VENV)/.test-ready: $(VENV)/.run-ready
	$(VENV)/bin/python -m tests.requirements test > $(VENV)/test.txt
	$(VENV)/bin/python $(PIP) -r $(VENV)/run.txt -r $(VENV)/test.txt
	@touch $@

$(FLOOR)/.ready: Makefile
	$(PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/python $(PIP) $(FLOOR_VERSIONS)
	@touch $@
