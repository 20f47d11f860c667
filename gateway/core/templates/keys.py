"""Which keys a template may have, and what becomes of each.

Three groups: *understood* ones, which code of this package reads; those *without
effect*, which are accepted with a warning because nothing a client or the program
itself could notice depends on them here; and *refused* ones, which would change what
the program is or sees, so that leaving them out silently would run something else
than the template says. Every key of the compose specification, and those of the
first compose files, is in one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

UNDERSTOOD: Mapping[str, str] = {
    "image": "what to run; needed unless `x-gateway` gives endpoints",
    "command": "arguments (or the whole program), as a list or as one text",
    "entrypoint": "the program, as a list or as one text",
    "environment": "variables of the program, as a map or a list of `NAME=value`",
    "working_dir": "the folder the program starts in",
    "labels": "the gateway's own labels, see below, and anybody else's",
    "scale": "how many instances, as the label `scale`",
    "deploy": "of it `replicas`, as the label `scale`",
    "depends_on": "services that must be healthy before the first start",
    "external_links": "hosts the program calls through the gateway",
    "healthcheck": "a program that says whether the instance is well",
    "stop_grace_period": "how long the program may take from TERM to KILL",
    "stop_signal": "`SIGTERM` only: that is what is sent (any signal in containers)",
    "restart": "accepted in every form; instances are kept running",
    "expose": "checked and else not needed: routed ports stand in the labels",
    "x-gateway": "`endpoints`: addresses of instances that somebody else runs; `tls`: how they "
    "prove who they are; `limits`: how much work an instance is given",
}

_LIMIT = "the gateway sets no limits; the program gets what the machine has"
_OURS = "the gateway gives instances their names"
_TERMINAL = "programs have no terminal, and nothing to read from"

WITHOUT_EFFECT: Mapping[str, str] = {
    "annotations": "nobody here reads them",
    "attach": "output goes to files, see `gateway logs`",
    "blkio_config": _LIMIT,
    "cgroup_parent": _LIMIT,
    "container_name": _OURS,
    "cpu_count": _LIMIT,
    "cpu_percent": _LIMIT,
    "cpu_period": _LIMIT,
    "cpu_quota": _LIMIT,
    "cpu_rt_period": _LIMIT,
    "cpu_rt_runtime": _LIMIT,
    "cpu_shares": _LIMIT,
    "cpus": _LIMIT,
    "cpuset": _LIMIT,
    "develop": "nothing is rebuilt or synchronised",
    "domainname": _OURS,
    "hostname": _OURS,
    "init": "children of a program end together with it anyway",
    "log_driver": "output goes to files, see `gateway logs`",
    "log_opt": "output goes to files, see `gateway logs`",
    "logging": "output goes to files, see `gateway logs`",
    "mac_address": _OURS,
    "mem_limit": _LIMIT,
    "mem_reservation": _LIMIT,
    "mem_swappiness": _LIMIT,
    "memswap_limit": _LIMIT,
    "networks": "services reach one another through routes, not through networks",
    "oom_kill_disable": _LIMIT,
    "oom_score_adj": _LIMIT,
    "pids_limit": _LIMIT,
    "pull_policy": "nothing is pulled",
    "pull_refresh_after": "nothing is pulled",
    "shm_size": _LIMIT,
    "stdin_open": _TERMINAL,
    "storage_opt": _LIMIT,
    "tty": _TERMINAL,
    "ulimits": _LIMIT,
}

_FILES = "the program would miss these files; put them into the image"
_RIGHTS = "the program would run with other rights than the template says"
_NAMES = (
    "names are not resolved for the program; give it a route that ends in `.local` "
    "and call that, with `external_links`"
)
_SPACES = "programs share the machine they run on; remove the key"
_DEVICES = "the program would miss these devices; register where it runs with `x-gateway`"
_HOOKS = "nothing is run beside the program; do it in the program or in its image"

REFUSED: Mapping[str, str] = {
    "build": "nothing is built here; build the image before and name it with `image`",
    "cap_add": _RIGHTS,
    "cap_drop": _RIGHTS,
    "cgroup": _SPACES,
    "configs": _FILES,
    "credential_spec": _RIGHTS,
    "device_cgroup_rules": _DEVICES,
    "devices": _DEVICES,
    "dns": _NAMES,
    "dns_opt": _NAMES,
    "dns_search": _NAMES,
    "dockerfile": "nothing is built here; build the image before and name it with `image`",
    "env_file": "no files of the sender are read; write the variables under `environment`",
    "extends": "no other files are read, and nothing is inherited; write the keys out",
    "extra_hosts": _NAMES,
    "gpus": _DEVICES,
    "group_add": _RIGHTS,
    "ipc": _SPACES,
    "isolation": _SPACES,
    "label_file": "no files of the sender are read; write the labels under `labels`",
    "links": _NAMES,
    "models": "no models are provided; give the program their addresses in `environment`",
    "net": _SPACES,
    "network_mode": _SPACES,
    "pid": _SPACES,
    "platform": "the program runs on the machine as it is; choose the image for it",
    "ports": "versions side by side cannot share a port of the machine; publish the service "
    "with the label `gateway.routing.port_<container port>: <host>`",
    "post_start": _HOOKS,
    "pre_stop": _HOOKS,
    "privileged": _RIGHTS,
    "profiles": "every service of a template is deployed; leave out those that are not wanted",
    "provider": "the gateway starts programs only; give the address in `environment`",
    "read_only": _RIGHTS,
    "runtime": _SPACES,
    "secrets": _FILES,
    "security_opt": _RIGHTS,
    "sysctls": _SPACES,
    "tmpfs": _FILES,
    "use_api_socket": _RIGHTS,
    "user": _RIGHTS,
    "userns_mode": _RIGHTS,
    "uts": _SPACES,
    "volume_driver": _FILES,
    "volumes": _FILES,
    "volumes_from": _FILES,
}

TOP_UNDERSTOOD = ("services",)

TOP_WITHOUT_EFFECT: Mapping[str, str] = {
    "version": "all versions of compose files are read alike",
    "name": "the application is named in the request",
    "networks": "services reach one another through routes, not through networks",
    "volumes": "services that would use them are refused",
    "configs": "services that would use them are refused",
    "secrets": "services that would use them are refused",
    "models": "services that would use them are refused",
}

TOP_REFUSED: Mapping[str, str] = {
    "include": "no other files are read; write the services out",
}

DEPLOY_UNDERSTOOD = ("replicas",)

DEPLOY_WITHOUT_EFFECT: Mapping[str, str] = {
    "endpoint_mode": "services are reached through their routes",
    "labels": "nobody here reads them; the gateway's own stand under the service's `labels`",
    "mode": "`replicated` is what services are",
    "placement": "instances run where the gateway runs",
    "resources": _LIMIT,
    "restart_policy": "instances are kept running",
    "rollback_config": "releases are rolled back as their strategy says",
    "update_config": "releases go as their strategy says",
}

HEALTHCHECK = (
    "test",
    "interval",
    "timeout",
    "retries",
    "start_period",
    "start_interval",
    "disable",
)
EXTENSION = "x-gateway"
ENDPOINTS = "endpoints"
TLS = "tls"
LIMITS = "limits"
IN_FLIGHT = "in_flight"
SERVER_NAME = "server_name"
VERIFY = "verify"
