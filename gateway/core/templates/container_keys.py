"""Which keys a service that runs in containers may have besides those of every service.

Same three groups as in `keys.py`, for the same keys: what cannot be honoured beside
the gateway can mostly be honoured in a container. What is refused here would make the
author of a template root on the machine, or would not survive two versions side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

_SUM = "as Docker has it"

UNDERSTOOD: Mapping[str, str] = {
    "cap_add": "capabilities the configuration allows (`allow_capabilities`)",
    "cap_drop": "capabilities taken away, or `ALL`",
    "cpu_period": _SUM,
    "cpu_quota": _SUM,
    "cpu_shares": _SUM,
    "cpus": "how many CPUs at most, as `deploy.resources.limits.cpus`",
    "cpuset": "which CPUs, `0-2,4`",
    "dns": "servers that are asked for names",
    "dns_opt": _SUM,
    "dns_search": _SUM,
    "domainname": _SUM,
    "env_file": "files of variables in a folder the configuration allows (`env_files`); "
    "`environment` goes before",
    "extra_hosts": "`name=address` or `name:address`; `host-gateway` is the machine",
    "group_add": "further groups of the user",
    "hostname": "the same for all instances",
    "init": "whether a small init is process 1",
    "logging": "`driver` json-file, local or journald, and its `options`",
    "mem_limit": "memory at most, as `deploy.resources.limits.memory`",
    "mem_reservation": "as `deploy.resources.reservations.memory`",
    "mem_swappiness": _SUM,
    "memswap_limit": _SUM,
    "networks": "the networks of the container, see below",
    "oom_score_adj": "0 to 1000",
    "pids_limit": "processes at most, as `deploy.resources.limits.pids`",
    "platform": "which variant of the image is pulled",
    "pull_policy": "`missing` (default), `always`, `never`",
    "read_only": "whether the container's own files cannot be written",
    "security_opt": "`no-new-privileges:true` only",
    "shm_size": "size of /dev/shm",
    "stdin_open": _SUM,
    "tmpfs": "folders in memory",
    "tty": _SUM,
    "ulimits": "a number, or `soft` and `hard`",
    "user": "as whom the program runs",
    "volumes": "volumes and folders of the machine, see below",
}

_NAMES = "versions side by side cannot share it; the gateway gives instances their names"

WITHOUT_EFFECT: Mapping[str, str] = {
    "attach": "output is kept by Docker, see `gateway logs`",
    "container_name": _NAMES,
    "develop": "nothing is rebuilt or synchronised",
    "mac_address": _NAMES,
    "pull_refresh_after": "images are pulled as `pull_policy` says",
    "storage_opt": "the engine's storage decides",
}

_ROOT = "it would give the author of the template rights over the whole machine"
_DEVICES = "devices of the machine are not handed out; register where it runs with `x-gateway`"
_SPACES = "instances have name spaces of their own"
_FILES = "write it into the image, or mount it with `volumes`"
_LIMIT = "not supported here; there are `cpus`, `cpu_shares`, `cpu_quota` and `cpu_period`"
_HOOKS = "nothing is run beside the program; do it in the program or in its image"

REFUSED: Mapping[str, str] = {
    "annotations": "runtimes take orders from them; write `labels`",
    "blkio_config": "input and output cannot be limited here",
    "build": "nothing is built here; build the image before and name it with `image`",
    "cgroup": _SPACES,
    "cgroup_parent": _ROOT,
    "configs": _FILES,
    "cpu_count": _LIMIT,
    "cpu_percent": _LIMIT,
    "cpu_rt_period": _LIMIT,
    "cpu_rt_runtime": _LIMIT,
    "credential_spec": "Windows only",
    "device_cgroup_rules": _DEVICES,
    "devices": _DEVICES,
    "dockerfile": "nothing is built here; build the image before and name it with `image`",
    "extends": "no other files are read, and nothing is inherited; write the keys out",
    "gpus": _DEVICES,
    "ipc": _SPACES,
    "isolation": _SPACES,
    "label_file": "no files of the sender are read; write the labels under `labels`",
    "links": "containers on one network find one another by the names of their services",
    "log_driver": "write `logging: {driver: ...}`",
    "log_opt": "write `logging: {options: ...}`",
    "models": "no models are provided; give the program their addresses in `environment`",
    "net": "write `networks`",
    "network_mode": "instances have a network of their own; write `networks`",
    "oom_kill_disable": "a container that cannot be ended could take the machine down",
    "pid": _ROOT,
    "ports": "versions side by side cannot share a port of the machine; publish the service "
    "with the label `gateway.routing.port_<container port>: <host>`",
    "post_start": _HOOKS,
    "pre_stop": _HOOKS,
    "privileged": _ROOT,
    "profiles": "every service of a template is deployed; leave out those that are not wanted",
    "provider": "the gateway starts containers only; give the address in `environment`",
    "runtime": "the engine's own runtime is used",
    "secrets": _FILES,
    "sysctls": "kernel settings are not changed here",
    "use_api_socket": _ROOT,
    "userns_mode": _ROOT,
    "uts": _ROOT,
    "volume_driver": "write the volume under `volumes` at the top",
    "volumes_from": "mount the same volume with `volumes` in both services",
}

TOP_UNDERSTOOD: Mapping[str, str] = {
    "networks": "the networks that services name: `name`, `external`, `internal`, `driver: bridge`",
    "volumes": "the volumes that services name: `name`, `external`, `driver: local`",
}

RESOURCES = "resources"
"""What is understood of `deploy` in addition."""

VOLUME_KEYS = ("type", "source", "target", "read_only", "bind", "volume", "tmpfs")
NETWORK_KEYS = ("name", "external", "internal", "driver", "labels")
TOP_VOLUME_KEYS = ("name", "external", "driver", "labels")
