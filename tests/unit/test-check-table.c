/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every check in every way in which it speaks: the condition is made, it says so; the repair is made, it is
 * silent. */
#include "check-internal.h"
#include "check-rig.h"
#include "error.h"
#include "vm-config-util.h"

#define UNDER_KVM                                                                                            \
    {RIG_STATUS, "/qemu/accel", "\"kvm\""}, {RIG_SOURCE, "/qemu/accel", "\"kvm\""},                          \
    {                                                                                                        \
        RIG_THERE, "/qemu/accel", "\"kvm\""                                                                  \
    }
#define PATH(rest)                                                                                           \
    "{\"source_interface\": \"motion1\", \"source_address\": \"10.72.0.1\", \"destination_interface\": "     \
    "\"motion1\", \"destination_address\": \"10.72.0.2\", " rest "}"
#define OTHER_CPU                                                                                            \
    {                                                                                                        \
        RIG_THERE, "/cpu/model", "\"AMD EPYC 7301\""                                                         \
    }

typedef struct {
    const char *id;
    RigChange changes[RIG_MAX_CHANGES]; /* what makes the condition */
    const char *text;                   /* what the first finding of that id says */
    const char *repair;                 /* a part of what it says to do */
    RigChange repairs[4];               /* and what that does to the facts */
    const char *besides;                /* ids of what else is found; NULL: nothing */
    bool is_warning;
} Row;

static const Row rows[] = {
    {"motion.host.same",
     {{RIG_THERE, "/name", "\"host1\""}},
     "web1 is on host1 already",
     "name another host",
     {{RIG_THERE, "/name", "\"host2\""}}},
    {"motion.host.unreachable",
     {{RIG_CENTER, "/destination_reachable", "false"}},
     "the agent of host2, the destination, cannot be reached",
     "on host2, 'systemctl status godwit-host'",
     {{RIG_CENTER, "/destination_reachable", "true"}}},
    {"motion.host.unreachable",
     {{RIG_CENTER, "/source_reachable", "false"}},
     "the agent of host1, the source, cannot be reached",
     "on host1, 'systemctl status godwit-host'",
     {{RIG_CENTER, "/source_reachable", "true"}}},
    {"motion.host.maintenance",
     {{RIG_CENTER, "/in_maintenance", "true"}},
     "host2 is in maintenance: no VM is to come to it",
     "godwit host maintenance host2",
     {{RIG_CENTER, "/in_maintenance", "false"}}},
    {"motion.host.problem",
     {{RIG_THERE, "/problems/0",
       "{\"id\": \"kernel.trace\", \"severity\": \"error\", \"text\": \"it is not there\", \"repair\": \"put it there\"}"}},
     "host2 cannot take the VM as it is (kernel.trace): it is not there",
     "on host2, put it there",
     {{RIG_THERE, "/problems", "[]"}}},
    {"motion.host.problem",
     {{RIG_VM, "/cpu_limit_percent", "50"},
      {RIG_THERE, "/problems/0",
       "{\"id\": \"cgroup\", \"severity\": \"warning\", \"text\": \"it is not there\", \"repair\": \"put it there\"}"}},
     "host2 cannot take the VM as it is (cgroup): it is not there",
     "on host2, put it there",
     {{RIG_THERE, "/problems", "[]"}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"off\""}},
     "the state of web1 on host1 is 'off', and only a VM that is running or paused can move",
     "godwit vm start web1",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"starting\""}},
     "the state of web1 on host1 is 'starting', and only a VM that is running or paused can move",
     "wait until it runs",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"crashed\""}},
     "the state of web1 on host1 is 'crashed', and only a VM that is running or paused can move",
     "godwit vm start web1",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"incoming\""}},
     "the state of web1 on host1 is 'incoming', and only a VM that is running or paused can move",
     "godwit task ls",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"moved\""}},
     "the state of web1 on host1 is 'moved', and only a VM that is running or paused can move",
     "godwit vm show web1",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"unknown\""}},
     "the state of web1 on host1 is 'unknown', and only a VM that is running or paused can move",
     "until its host answers",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/state", "\"odd\""}},
     "the state of web1 on host1 is 'odd', and only a VM that is running or paused can move",
     "until its host answers",
     {{RIG_STATUS, "/state", "\"running\""}}},
    {"motion.state",
     {{RIG_STATUS, "/supervised", "false"}},
     "the state of web1 on host1 is 'unsupervised', and only a VM that is running or paused can move",
     "systemctl restart godwit-host",
     {{RIG_STATUS, "/supervised", "true"}}},
    {"motion.activity",
     {{RIG_STATUS, "/motion", "{\"state\": \"pre-copy\", \"role\": \"source\"}"}},
     "web1 is busy on host1 with a motion (pre-copy)",
     "godwit task cancel",
     {{RIG_STATUS, "/motion", "{\"state\": \"cancelled\", \"role\": \"source\"}"}}},
    {"motion.activity",
     {{RIG_STATUS, "/memory/trace_armed", "true"}},
     "web1 is busy on host1 with a trace of its memory, which somebody began by hand",
     "on host1, 'curl -X DELETE --unix-socket /run/godwit/vms/web1/control.sock http://vm/v1/trace'",
     {{RIG_STATUS, "/memory/trace_armed", "false"}}},
    {"motion.vm.duplicate",
     {{RIG_CENTER, "/duplicate_at", "\"host3\""}},
     "both host1 and host3 say that they have web1: which of them is right is not for a motion to decide",
     "'godwit-vm power web1 stop'",
     {{RIG_CENTER, "/duplicate_at", NULL}}},
    {"motion.vm.namesake",
     {{RIG_CENTER, "/namesake", "\"off, UUID 00000000-0000-4000-8000-000000000001\""}},
     "host2 has another VM that is also named web1 (off, UUID 00000000-0000-4000-8000-000000000001)",
     "on host2, if nobody needs that one, 'godwit-vm power web1 stop' when it runs, and 'godwit-vm rm web1'",
     {{RIG_CENTER, "/namesake", NULL}}},
    {"motion.interface.missing",
     {{RIG_SOURCE, "/motion_interfaces", "[]"}},
     "host1, the source, has no motion interface",
     "on host1, in /etc/godwit/host.conf, [motion] interfaces=INTERFACE",
     {{RIG_SOURCE, "/motion_interfaces", "[{\"name\": \"m\", \"address\": \"10.0.0.1\", \"up\": true}]"}}},
    {"motion.interface.missing",
     {{RIG_THERE, "/motion_interfaces", "[]"}},
     "host2, the destination, has no motion interface",
     "on host2, in /etc/godwit/host.conf, [motion] interfaces=INTERFACE",
     {{RIG_THERE, "/motion_interfaces", "[{\"name\": \"m\", \"address\": \"10.0.0.1\", \"up\": true}]"}}},
    {"motion.interface.missing",
     {{RIG_THERE, "/motion_interfaces/0/up", "false"}},
     "host2, the destination, has no motion interface that is up and has an address",
     "on host2, 'ip link set motion0 up'",
     {{RIG_THERE, "/motion_interfaces/0/up", "true"}}},
    {"motion.interface.missing",
     {{RIG_THERE, "/motion_interfaces/0/address", "null"}},
     "host2, the destination, has no motion interface that is up and has an address",
     "'ip address add ADDRESS/LENGTH dev motion0'",
     {{RIG_THERE, "/motion_interfaces/0/address", "\"10.71.0.2\""}}},
    {"motion.interface.family",
     {{RIG_THERE, "/motion_interfaces/0/address", "\"fd71::2\""}},
     "the motion interfaces of host1 have IPv4 addresses only, those of host2 IPv6 ones",
     "an address of IPv4 too",
     {{RIG_THERE, "/motion_interfaces/1",
       "{\"name\": \"motion0\", \"address\": \"10.71.0.2\", \"prefix_length\": 24, \"up\": true}"}}},
    {"motion.interface.family",
     {{RIG_SOURCE, "/motion_interfaces/0/address", "\"fd71::1\""}},
     "the motion interfaces of host1 have IPv6 addresses only, those of host2 IPv4 ones",
     "an address of IPv6 too",
     {{RIG_THERE, "/motion_interfaces/1",
       "{\"name\": \"motion0\", \"address\": \"fd71::2\", \"prefix_length\": 64, \"up\": true}"}}},
    {"motion.path.none",
     {{RIG_PATHS, "/paths/0/reachable", "false"},
      {RIG_PATHS, "/paths/0/error", "\"10.71.0.2: Connection refused\""}},
     "no motion interface of host1 reaches one of host2 (1 way tried)",
     "'godwit host probe host1 --to host2'",
     {{RIG_PATHS, "/paths/0/reachable", "true"}},
     .besides = "motion.path.unreachable"},
    {"motion.path.unreachable",
     {{RIG_PATHS, "/paths/1", PATH("\"reachable\": false, \"error\": \"No route to host\"")}},
     "from motion1 (10.72.0.1) of host1 to motion1 (10.72.0.2) of host2 there is no way: No route to host",
     "'ping -I 10.72.0.1 10.72.0.2' on host1",
     {{RIG_PATHS, "/paths/1/reachable", "true"}}},
    {"motion.path.unreachable",
     {{RIG_PATHS, "/paths/1", PATH("\"reachable\": false")}},
     "from motion1 (10.72.0.1) of host1 to motion1 (10.72.0.2) of host2 there is no way: no connection",
     "[motion] interfaces",
     {{RIG_PATHS, "/paths/1", NULL}}},
    {"motion.path.slow",
     {{RIG_PATHS, "/paths/0/bits_per_s", "93500000"}},
     "from motion0 (10.71.0.1) of host1 to motion0 (10.71.0.2) of host2 93.5 Mbit/s were measured (round trip 0.13 ms), and a motion should have 250",
     "faster network",
     {{RIG_PATHS, "/paths/0/bits_per_s", "250000000"}},
     .is_warning = true},
    {"motion.network.missing",
     {{RIG_THERE, "/port_groups/0/name", "\"wan\""}},
     "host2 has no port group 'lan', which nic0 (/nics/0) is on",
     "on host2, in /etc/godwit/host.conf, [port-group lan] with switch=guests; then 'godwit-host reload'",
     {{RIG_THERE, "/port_groups/2", "{\"name\": \"lan\", \"switch\": \"guests\"}"}}},
    {"motion.network.missing",
     {{RIG_THERE, "/port_groups/0/name", "\"Lan\""}},
     "host2 has no port group 'lan', which nic0 (/nics/0) is on; 'Lan' there differs in case or blanks",
     "rename [port-group Lan] to [port-group lan]",
     {{RIG_THERE, "/port_groups/0/name", "\"lan\""}}},
    {"motion.network.missing",
     {{RIG_VM, "/nics/0/port_group", "\"vm lan\""},
      {RIG_THERE, "/port_groups/0/name", "\"VMlan\""},
      {RIG_SOURCE, "/port_groups/0/name", "\"vm lan\""}},
     "host2 has no port group 'vm lan', which nic0 (/nics/0) is on; 'VMlan' there differs in case or blanks",
     "rename [port-group VMlan] to [port-group vm lan]",
     {{RIG_THERE, "/port_groups/0/name", "\"vm lan\""}}},
    {"motion.network.missing",
     {{RIG_THERE, "/port_groups", "[]"}, {RIG_THERE, "/switches", "[]"}},
     "host2 has no port group 'lan', which nic0 (/nics/0) is on",
     "[port-group lan] with switch=SWITCH",
     {{RIG_THERE, "/switches", "[{\"name\": \"s\", \"uplinks\": [\"e\"]}]"},
      {RIG_THERE, "/port_groups", "[{\"name\": \"lan\", \"switch\": \"s\"}]"}}},
    {"motion.network.missing",
     {{RIG_THERE, "/port_groups", "[]"},
      {RIG_THERE, "/switches", "[{\"name\": \"inner\"}, {\"name\": \"outer\", \"uplinks\": [\"eth5\"]}]"}},
     "host2 has no port group 'lan', which nic0 (/nics/0) is on",
     "[port-group lan] with switch=outer",
     {{RIG_THERE, "/port_groups", "[{\"name\": \"lan\", \"switch\": \"outer\"}]"}}},
    {"motion.network.internal",
     {{RIG_THERE, "/switches/0/uplinks", "[]"}},
     "nic0 (/nics/0) is on port group 'lan', whose switch guests on host2 has no uplink: whom the guest talks to there, it loses",
     "on host2, in /etc/godwit/host.conf, [switch guests] uplinks=INTERFACE",
     {{RIG_THERE, "/switches/0/uplinks", "[\"eth1\"]"}}},
    {"motion.network.internal",
     {{RIG_SOURCE, "/switches/0/uplinks", "[]"}},
     "nic0 (/nics/0) is on port group 'lan', whose switch guests on host1 has no uplink: whom the guest talks to there, it loses",
     "on host1, in /etc/godwit/host.conf, [switch guests] uplinks=INTERFACE",
     {{RIG_SOURCE, "/switches/0/uplinks", "[\"eth1\"]"}}},
    {"motion.datastore.missing",
     {{RIG_THERE, "/datastores/0/name", "\"other\""}},
     "host2 has no datastore 'ds', which holds root (/disks/0)",
     "[datastore ds] with path=",
     {{RIG_THERE, "/datastores/0/name", "\"ds\""}}},
    {"motion.datastore.missing",
     {{RIG_THERE, "/datastores/0/name", "\"DS\""}},
     "host2 has no datastore 'ds', which holds root (/disks/0); 'DS' there differs in case",
     "rename [datastore DS] to [datastore ds]",
     {{RIG_THERE, "/datastores/0/name", "\"ds\""}}},
    {"motion.datastore.missing",
     {{RIG_VM, "/boot", "{\"kind\": \"uefi\", \"vars\": {\"datastore\": \"fast\", \"path\": \"vars.fd\"}}"},
      {RIG_VM, "/cdroms", "[{\"datastore\": \"fast\", \"path\": \"a.iso\"}]"}},
     "host2 has no datastore 'fast', which holds the UEFI variables (/boot/vars), cd0 (/cdroms/0)",
     "[datastore fast] with path=",
     {{RIG_SOURCE, "/datastores/2", "{\"name\": \"fast\", \"path\": \"/f\", \"identity\": \"f\"}"},
      {RIG_THERE, "/datastores/2", "{\"name\": \"fast\", \"path\": \"/f\", \"identity\": \"f\"}"}}},
    {"motion.datastore.unusable",
     {{RIG_THERE, "/datastores/0/error", "\"nothing is mounted at /srv/ds\""}},
     "datastore 'ds' of host2, which holds root (/disks/0), cannot be used: nothing is mounted at /srv/ds",
     "'mount /srv/ds'",
     {{RIG_THERE, "/datastores/0/error", "null"}}},
    {"motion.datastore.unusable",
     {{RIG_THERE, "/datastores/0/error", "\"/srv/ds: Stale file handle\""},
      {RIG_THERE, "/datastores/0/read_only", "true"},
      {RIG_THERE, "/datastores/0/identity", "null"}},
     "datastore 'ds' of host2, which holds root (/disks/0), cannot be used: /srv/ds: Stale file handle",
     "on host2, see that the storage is mounted at /srv/ds",
     {{RIG_THERE, "/datastores/0/error", "null"},
      {RIG_THERE, "/datastores/0/read_only", "false"},
      {RIG_THERE, "/datastores/0/identity", "\"nfs:a\""}}},
    {"motion.datastore.read-only",
     {{RIG_VM, "/cdroms", "[{\"datastore\": \"ds\", \"path\": \"a.iso\"}]"},
      {RIG_THERE, "/datastores/0/read_only", "true"}},
     "datastore 'ds' is read-only on host2, and the guest writes there: root (/disks/0), cd0 (/cdroms/0)",
     "'mount -o remount,rw /srv/ds'",
     {{RIG_THERE, "/datastores/0/read_only", "false"}}},
    {"motion.datastore.read-only",
     {{RIG_THERE, "/datastores/0/read_only", "true"}},
     "datastore 'ds' is read-only on host2, and the guest writes there: root (/disks/0)",
     "'mount -o remount,rw /srv/ds'",
     {{RIG_THERE, "/datastores/0/read_only", "false"}}},
    {"motion.datastore.different",
     {{RIG_THERE, "/datastores/0/identity", "\"local:2\""}},
     "datastore 'ds', which holds root (/disks/0), is another storage on host2 than on host1: the guest would find other disks there",
     "where the storage of host1 is mounted",
     {{RIG_THERE, "/datastores/0/identity", "\"nfs:a\""}}},
    {"motion.datastore.different",
     {{RIG_VM, "/disks/0/read_only", "true"}, {RIG_THERE, "/datastores/0/identity", "\"local:2\""}},
     "datastore 'ds', which holds root (/disks/0), is another storage on host2 than on host1: the guest would find other disks there",
     "where the storage of host1 is mounted",
     {{RIG_THERE, "/datastores/0/identity", "\"nfs:a\""}}},
    {"motion.datastore.unverified",
     {{RIG_THERE, "/datastores/0/identity", "null"}},
     "whether datastore 'ds', which holds root (/disks/0), is the same storage on host1 and on host2 cannot be told",
     "'findmnt -T PATH' on host1 and on host2",
     {{RIG_THERE, "/datastores/0/identity", "\"nfs:a\""}},
     .is_warning = true},
    {"motion.datastore.unverified",
     {{RIG_SOURCE, "/datastores/0/error", "\"nothing is mounted at /srv/ds\""}},
     "whether datastore 'ds', which holds root (/disks/0), is the same storage on host1 and on host2 cannot be told",
     "'findmnt -T PATH' on host1 and on host2",
     {{RIG_SOURCE, "/datastores/0/error", "null"}},
     .is_warning = true},
    {"motion.cdrom.file",
     {{RIG_VM, "/cdroms", "[{}, {\"datastore\": \"iso\", \"path\": \"debian.iso\"}]"}},
     "cd1 (/cdroms/1) needs debian.iso of datastore 'iso', which has to be the same on host2",
     "'sha256sum'",
     {{RIG_SOURCE, "/datastores/1/identity", "\"nfs:iso\""},
      {RIG_THERE, "/datastores/1/identity", "\"nfs:iso\""}},
     .is_warning = true},
    {"motion.boot.file",
     {{RIG_VM, "/boot",
       "{\"kind\": \"kernel\", \"kernel\": {\"datastore\": \"iso\", \"path\": \"vmlinuz\"}, \"initrd\": {\"datastore\": \"iso\", \"path\": \"initrd\"}}"}},
     "the next reset of the guest (/boot/kernel) needs vmlinuz of datastore 'iso', which has to be the same on host2",
     "'sha256sum'",
     {{RIG_SOURCE, "/datastores/1/identity", "\"nfs:iso\""},
      {RIG_THERE, "/datastores/1/identity", "\"nfs:iso\""}},
     .is_warning = true},
    {"motion.accel.different",
     {{RIG_STATUS, "/qemu/accel", "\"kvm\""}, {RIG_SOURCE, "/qemu/accel", "\"kvm\""}},
     "the guest runs under KVM, and would be taken up under TCG (emulation) on host2 (/accel): their CPU states are not the same",
     "modprobe kvm_intel",
     {{RIG_THERE, "/qemu/accel", "\"kvm\""}}},
    {"motion.accel.different",
     {{RIG_VM, "/accel", "\"kvm\""},
      {RIG_STATUS, "/qemu/accel", "\"kvm\""},
      {RIG_SOURCE, "/qemu/accel", "\"kvm\""}},
     "the guest's accelerator is KVM (/accel), which host2 does not have",
     "modprobe kvm_intel",
     {{RIG_THERE, "/qemu/accel", "\"kvm\""}}},
    {"motion.accel.different",
     {{RIG_THERE, "/qemu/accel", "\"kvm\""}},
     "the guest runs under TCG (emulation), and would be taken up under KVM on host2 (/accel): their CPU states are not the same",
     "\"accel\": \"tcg\"",
     {{RIG_VM, "/accel", "\"tcg\""}}},
    {"motion.cpu.model",
     {{RIG_THERE, "/qemu/cpu_models/0/name", "\"qemu32\""}},
     "the QEMU of host2 (7.2.22) does not know the CPU model 'qemu64' (/cpu_model)",
     "on host2, install the QEMU of host1",
     {{RIG_THERE, "/qemu/cpu_models/0/name", "\"qemu64\""}}},
    {"motion.cpu.features",
     {{RIG_VM, "/cpu_model", "\"Skylake-Server-v4\""},
      {RIG_THERE, "/qemu/cpu_models/1/missing", "[\"hle\", \"avx512f\", \"avx512f\"]"}},
     "the guest's CPU ('Skylake-Server-v4', /cpu_model) has on host1 what it would not have on host2: avx512f",
     "\"cpu_model\": \"Skylake-Server-v4,-avx512f\"",
     {{RIG_VM, "/cpu_model", "\"Skylake-Server-v4,-avx512f\""}}},
    {"motion.cpu.features",
     {{RIG_VM, "/cpu_model", "\"qemu64,+avx2,sse4_1=on\""}, {RIG_THERE, "/cpu/features", "[\"sse2\"]"}},
     "the guest's CPU ('qemu64,+avx2,sse4_1=on', /cpu_model) has on host1 what it would not have on host2: avx2, sse4_1",
     "\"cpu_model\": \"qemu64,+avx2,sse4_1=on,-avx2,-sse4_1\"",
     {{RIG_VM, "/cpu_model", "\"qemu64,+avx2,sse4_1=on,-avx2,-sse4_1\""}}},
    {"motion.cpu.features",
     {{RIG_VM, "/cpu_model", "\"qemu64,+sse3\""}, {RIG_SOURCE, "/cpu/features/3", "\"pni\""}},
     "the guest's CPU ('qemu64,+sse3', /cpu_model) has on host1 what it would not have on host2: sse3",
     "\"cpu_model\": \"qemu64,+sse3,-sse3\"",
     {{RIG_VM, "/cpu_model", "\"qemu64,+sse3,-pni\""}}},
    {"motion.cpu.host-model",
     {UNDER_KVM, {RIG_VM, "/cpu_model", "\"host\""}, {RIG_THERE, "/cpu/features", "[\"sse2\", \"sse4_1\"]"}},
     "the guest has the CPU of host1 ('host', /cpu_model), and that of host2 lacks avx2",
     "a named \"cpu_model\"",
     {{RIG_VM, "/cpu_model", "\"qemu64\""}}},
    {"motion.cpu.host-model",
     {{RIG_VM, "/cpu_model", "\"max,-pmu\""}, {RIG_THERE, "/cpu/features", "[\"sse2\", \"sse4-1\"]"}},
     "the guest has the CPU of host1 ('max,-pmu', /cpu_model), and that of host2 lacks avx2",
     "a named \"cpu_model\"",
     {{RIG_VM, "/cpu_model", "\"max,-pmu,-avx2\""}}},
    {"motion.cpu.host-dependent",
     {UNDER_KVM,
      {RIG_VM, "/cpu_model", "\"host\""},
      OTHER_CPU,
      {RIG_VM, "/cpu_model", "\"host,-vmx,-svm,-pmu\""}},
     "the CPU that 'host,-vmx,-svm,-pmu' (/cpu_model) means may be another one on host2: the hosts' CPUs are not known to be the same",
     "a named \"cpu_model\"",
     {{RIG_VM, "/cpu_model", "\"qemu64\""}},
     .is_warning = true},
    {"motion.cpu.host-dependent",
     {{RIG_VM, "/cpu_model", "\"max\""}, {RIG_THERE, "/qemu/version", "\"10.0.2\""}},
     "the CPU that 'max' (/cpu_model) means may be another one on host2: the QEMU versions are not known to be the same",
     "a named \"cpu_model\"",
     {{RIG_VM, "/cpu_model", "\"qemu64\""}},
     .is_warning = true},
    {"motion.cpu.host-dependent",
     {{RIG_VM, "/cpu_model", "\"max\""}, {RIG_THERE, "/cpu/features", "null"}},
     "the CPU that 'max' (/cpu_model) means may be another one on host2: the hosts' CPUs are not known to be the same",
     "a named \"cpu_model\"",
     {{RIG_VM, "/cpu_model", "\"qemu64\""}},
     .is_warning = true},
    {"motion.cpu.nested",
     {UNDER_KVM, {RIG_STATUS, "/state", "\"off\""}, {RIG_VM, "/cpu_model", "\"qemu64,+svm\""}},
     "the guest's CPU ('qemu64,+svm', /cpu_model) has vmx or svm: what a guest of the guest writes, no trace sees",
     "\"cpu_model\": \"qemu64,+svm,-vmx,-svm\"",
     {{RIG_VM, "/cpu_model", "\"qemu64,+svm,-vmx,-svm\""}},
     .besides = "motion.state"},
    {"motion.cpu.nested",
     {UNDER_KVM, {RIG_STATUS, "/state", "\"off\""}, {RIG_VM, "/cpu_model", "\"host\""}},
     "the guest's CPU ('host', /cpu_model) has what the host's has, which may be vmx or svm: what a guest of the guest writes, no trace sees",
     "\"cpu_model\": \"host,-vmx,-svm\"",
     {{RIG_VM, "/cpu_model", "\"host,-vmx,-svm\""}},
     .besides = "motion.state"},
    {"motion.cpu.pmu",
     {UNDER_KVM, OTHER_CPU, {RIG_VM, "/cpu_model", "\"qemu64,pmu=on\""}},
     "the guest's CPU ('qemu64,pmu=on', /cpu_model) has the performance counters of host1, and host2 has another CPU",
     "\"cpu_model\": \"qemu64,pmu=on,-pmu\"",
     {{RIG_VM, "/cpu_model", "\"qemu64,pmu=on,-pmu\""}}},
    {"motion.cpu.pmu",
     {UNDER_KVM, OTHER_CPU, {RIG_VM, "/cpu_model", "\"host\""}},
     "the guest's CPU ('host', /cpu_model) has the performance counters of host1, and host2 has another CPU",
     "\"cpu_model\": \"host,-pmu\"",
     {{RIG_VM, "/cpu_model", "\"host,-pmu\""}},
     .besides = "motion.cpu.host-dependent"},
    {"motion.cpu.pinned",
     {{RIG_VM, "/pinning", "[[0, 1], [1]]"}},
     "2 of 2 vCPUs are pinned to CPUs of host1 by number (/pinning): on host2 these are other CPUs, and may be in use",
     "take \"pinning\" out",
     {{RIG_VM, "/pinning", NULL}}},
    {"motion.cpu.pinned-missing",
     {{RIG_VM, "/pinning", "[[0, 9], [8, 9]]"}},
     "vCPU 1 is pinned (/pinning/1) to CPUs from 8 on, and host2 has 8",
     "take \"pinning\" out",
     {{RIG_VM, "/pinning", "[[0, 9], [7]]"}},
     .besides = "motion.cpu.pinned"},
    {"motion.cpu.room",
     {{RIG_VM, "/vcpus", "9"}},
     "the VM has 9 vCPUs (/vcpus) and host2 has 8 CPUs: they will wait for each other",
     "a host with more CPUs",
     {{RIG_THERE, "/cpu/count", "9"}},
     .is_warning = true},
    {"motion.memory.room",
     {{RIG_THERE, "/memory/available_bytes", "536870911"}},
     "host2 has 511 MiB of memory available, and the guest holds 512 MiB (/memory_mib)",
     "move a VM away from host2",
     {{RIG_THERE, "/memory/available_bytes", "1073741824"}}},
    {"motion.memory.room",
     {{RIG_THERE, "/memory/available_bytes", "536870912"}},
     "host2 has 512 MiB of memory available, and the guest may come to hold 1024 MiB (/memory_mib)",
     "move a VM away from host2",
     {{RIG_THERE, "/memory/available_bytes", "1073741824"}},
     .is_warning = true},
    {"motion.qemu.machine",
     {{RIG_THERE, "/qemu/machines", "[\"pc-q35-7.1\"]"}},
     "the QEMU of host2 (7.2.22) does not have the machine pc-q35-7.2 (/machine)",
     "'qemu-system-x86_64 -machine help'",
     {{RIG_THERE, "/qemu/machines", "[\"pc-q35-7.2\"]"}}},
    {"motion.qemu.older",
     {{RIG_STATUS, "/qemu/version", "\"10.0.2\""}},
     "host2 has QEMU 7.2.22, which is older than the 10.0.2 that the VM runs in",
     "install QEMU 10.0.2 or newer",
     {{RIG_THERE, "/qemu/version", "\"10.0.1\""}}},
    {"motion.qemu.older",
     {{RIG_THERE, "/qemu/version", "\"6.2.0\""}},
     "host2 has QEMU 6.2.0, which is older than the 7.2.22 that the VM runs in",
     "install QEMU 7.2.22 or newer",
     {{RIG_THERE, "/qemu/version", "\"7.2.0\""}}},
};

/* --- each row ------------------------------------------------------------------------------------------ */

static void
expect_ids(const GArray *findings, const Row *row)
{
    for (guint i = 0; i < findings->len; i++) {
        const char *id = rig_finding(findings, i)->id;
        g_auto(GStrv) besides = g_strsplit(row->besides ? row->besides : "", " ", -1);
        g_test_message("%s: %s", id, rig_finding(findings, i)->text);
        g_assert_true(strcmp(id, row->id) == 0 || g_strv_contains((const char *const *)besides, id));
    }
}

static void
expect_finding(Rig *rig, const GArray *findings, const Row *row)
{
    g_autoptr(GError) error = NULL;
    const GwFinding *finding = rig_find(findings, row->id);
    const GwCheckRule *rule = gw_check_find_rule(row->id);
    g_assert_nonnull(finding);
    g_assert_cmpstr(finding->text, ==, row->text);
    g_assert_nonnull(strstr(finding->repair, row->repair));
    g_assert_cmpint(finding->severity, ==, row->is_warning ? GW_SEVERITY_WARNING : GW_SEVERITY_ERROR);
    g_assert_cmpint(finding->override, ==, rule->policy);
    bool is_good = gw_check_motion_verdict(&rig->input, findings, &error);
    if (!row->is_warning) {
        g_assert_error(error, GW_ERROR, GW_ERROR_CHECK_FAILED);
        g_assert_nonnull(strstr(error->message, row->text));
        g_assert_nonnull(strstr(error->message, finding->repair));
    } else if (!row->besides) {
        g_assert_true(is_good);
        g_assert_no_error(error);
    }
}

static void
test_row(const void *data)
{
    const Row *row = data;
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, row->changes);
    g_autoptr(GArray) findings = rig_check(&rig, NULL);
    expect_ids(findings, row);
    expect_finding(&rig, findings, row);

    /* Another thing would make the condition for another id, so all that is left is what else was found. */
    rig_change(&rig, row->repairs);
    g_autoptr(GArray) mended = rig_check(&rig, NULL);
    expect_ids(mended, row);
    g_assert_null(rig_find(mended, row->id));
}

static void
test_healthy(void)
{
    g_auto(Rig) rig;
    rig_init(&rig);
    g_autoptr(GArray) findings = rig_check(&rig, NULL);
    g_autofree char *ids = rig_ids(findings);
    g_autoptr(GError) error = NULL;
    g_assert_cmpstr(ids, ==, "");
    g_assert_true(gw_check_verdict(findings, NULL, &error));
    g_assert_no_error(error);
}

/* --- what is nearly the condition, and is not ---------------------------------------------------------- */

static const struct {
    const char *what;
    RigChange changes[RIG_MAX_CHANGES];
} harmless[] = {
    {"paused", {{RIG_STATUS, "/state", "\"paused\""}}},
    {"a motion that is over", {{RIG_STATUS, "/motion", "{\"state\": \"failed\", \"role\": \"source\"}"}}},
    {"not probed", {{RIG_PATHS, "/paths", NULL}}},
    {"exactly the floor", {{RIG_PATHS, "/paths/0/bits_per_s", "250000000"}}},
    {"not measured", {{RIG_PATHS, "/paths/0/bits_per_s", "0"}}},
    {"no disk and no NIC, and the host has neither",
     {{RIG_VM, "/disks", NULL},
      {RIG_VM, "/nics", NULL},
      {RIG_THERE, "/datastores", NULL},
      {RIG_THERE, "/port_groups", NULL}}},
    {"a read-only datastore for a read-only disk",
     {{RIG_VM, "/disks/0/read_only", "true"}, {RIG_THERE, "/datastores/0/read_only", "true"}}},
    {"an ISO image on the same storage",
     {{RIG_VM, "/cdroms", "[{\"datastore\": \"ds\", \"path\": \"debian.iso\"}]"}}},
    {"an empty drive", {{RIG_VM, "/cdroms", "[{}]"}}},
    {"a datastore of others that is broken", {{RIG_THERE, "/datastores/1/error", "\"gone\""}}},
    {"the model lacks the same at both ends", {{RIG_VM, "/cpu_model", "\"Skylake-Server-v4\""}}},
    {"what the destination lacks was taken off",
     {{RIG_VM, "/cpu_model", "\"qemu64,-svm\""}, {RIG_THERE, "/qemu/cpu_models/0/missing", "[\"svm\"]"}}},
    {"the destination has more than the source",
     {{RIG_SOURCE, "/qemu/cpu_models/0/missing", "[\"svm\"]"},
      {RIG_THERE, "/cpu/features/3", "\"avx512f\""}}},
    {"an added feature that neither has", {{RIG_VM, "/cpu_model", "\"qemu64,+avx512f\""}}},
    {"an added feature, of a host that does not say what it has",
     {{RIG_VM, "/cpu_model", "\"qemu64,+avx2\""}, {RIG_THERE, "/cpu/features", NULL}}},
    {"an added feature, spelt otherwise", {{RIG_VM, "/cpu_model", "\"qemu64,+sse4_1\""}}},
    {"facts about models of KVM say nothing of a guest under TCG",
     {{RIG_VM, "/accel", "\"tcg\""},
      {RIG_SOURCE, "/qemu/accel", "\"kvm\""},
      {RIG_THERE, "/qemu/accel", "\"kvm\""},
      {RIG_THERE, "/qemu/cpu_models/0/missing", "[\"svm\"]"}}},
    {"host models on equal CPUs", {{RIG_VM, "/cpu_model", "\"host\""}}},
    {"what TCG emulates is the same on other CPUs", {OTHER_CPU, {RIG_VM, "/cpu_model", "\"max\""}}},
    {"an added feature under its other name",
     {{RIG_VM, "/cpu_model", "\"qemu64,+sse3\""}, {RIG_THERE, "/cpu/features/3", "\"pni\""}}},
    {"performance counters on equal CPUs", {UNDER_KVM, {RIG_VM, "/cpu_model", "\"qemu64,pmu=on\""}}},
    {"no performance counters under TCG", {OTHER_CPU, {RIG_VM, "/cpu_model", "\"qemu64,pmu=on\""}}},
    {"nested is nothing under TCG", {{RIG_VM, "/cpu_model", "\"qemu64,+svm\""}}},
    {"a fix of QEMU that is older", {{RIG_THERE, "/qemu/version", "\"7.2.1\""}}},
    {"a newer QEMU", {{RIG_THERE, "/qemu/version", "\"10.0.2\""}}},
    {"a host that does not say which machines it has", {{RIG_THERE, "/qemu/machines", NULL}}},
    {"a host that does not say which models it has", {{RIG_THERE, "/qemu/cpu_models", NULL}}},
    {"a host that does not say how much memory it has", {{RIG_THERE, "/memory", NULL}}},
    {"a host that does not say how many CPUs it has", {{RIG_THERE, "/cpu/count", NULL}}},
    {"as many vCPUs as CPUs", {{RIG_VM, "/vcpus", "8"}}},
    {"memory to the last byte", {{RIG_THERE, "/memory/available_bytes", "1073741824"}}},
    {"what is only a pity",
     {{RIG_THERE, "/problems/0",
       "{\"id\": \"huge-pages\", \"severity\": \"warning\", \"text\": \"t\", \"repair\": null}"},
      {RIG_THERE, "/problems/1",
       "{\"id\": \"cgroup\", \"severity\": \"warning\", \"text\": \"t\", \"repair\": null}"}}},
};

static void
test_harmless(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(harmless); i++) {
        g_auto(Rig) rig;
        rig_init(&rig);
        rig_change(&rig, harmless[i].changes);
        g_autoptr(GArray) findings = rig_check(&rig, NULL);
        g_autofree char *ids = rig_ids(findings);
        g_test_message("%s: %s", harmless[i].what, ids);
        g_assert_cmpstr(ids, ==, "");
    }
}

/* --- the table ----------------------------------------------------------------------------------------- */

/* Each check stands in a row here, and each id in the table that people read. */
static void
test_table_is_whole(void)
{
    g_autofree char *documentation = read_test_file("../../docs/checks.md");
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (const GwCheckRule *rule = gw_check_rules; rule->id; rule++) {
        g_test_message("%s", rule->id);
        g_assert_true(g_hash_table_add(seen, (void *)rule->id)); /* once */
        bool has_row = rule->check == NULL;
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
            has_row |= strcmp(rows[i].id, rule->id) == 0;
        g_assert_true(has_row);
        const char *override = rule->policy == GW_OVERRIDE_ALLOWED ? "allowed" : "refused";
        g_autofree char *line = g_strdup_printf("\n| `%s` | %s | %s |", rule->id,
                                                rule->severity == GW_SEVERITY_ERROR ? "error" : "warning",
                                                rule->severity == GW_SEVERITY_ERROR ? override : "–");
        g_assert_nonnull(strstr(documentation, line));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/healthy", test_healthy);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *name = g_strdup_printf("/check/%s/%zu", rows[i].id, i);
        g_test_add_data_func(name, &rows[i], test_row);
    }
    g_test_add_func("/check/harmless", test_harmless);
    g_test_add_func("/check/table-is-whole", test_table_is_whole);
    return g_test_run();
}
