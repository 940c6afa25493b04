/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Samples of /proc/stat, /proc/meminfo and of the processes of each VM.
 *
 * A VM's memory is its guest's image plus what its processes have for themselves: what QEMU has mapped of the
 * image is shared memory, which is left out of its own part. */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool
gw_cpu_times_parse(const char *text, GwCpuTimes *ret_times)
{
    /* user nice system idle iowait irq softirq steal; guest and guest_nice are within user and nice */
    unsigned long long t[8] = {0};
    if (!g_str_has_prefix(text, "cpu ") || sscanf(text + 4, "%llu %llu %llu %llu %llu %llu %llu %llu", &t[0],
                                                  &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) < 4)
        return false;
    *ret_times = (GwCpuTimes){.busy = t[0] + t[1] + t[2] + t[5] + t[6], .idle = t[3] + t[4]};
    return true;
}

double
gw_cpu_times_percent(const GwCpuTimes *before, const GwCpuTimes *now)
{
    uint64_t busy = now->busy > before->busy ? now->busy - before->busy : 0;
    uint64_t idle = now->idle > before->idle ? now->idle - before->idle : 0;
    return busy + idle ? 100.0 * (double)busy / (double)(busy + idle) : 0;
}

bool
gw_process_times_parse(const char *text, GwProcessTimes *ret_times)
{
    unsigned long long user, kernel, started;
    const char *behind_name = strrchr(text, ')');
    /* state and 10 more, utime stime, cutime cstime priority nice threads itrealvalue, starttime */
    if (!behind_name || sscanf(behind_name + 1,
                               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d "
                               "%*d %llu",
                               &user, &kernel, &started) != 3)
        return false;
    *ret_times = (GwProcessTimes){.jiffies = user + kernel, .started = started};
    return true;
}

bool
gw_meminfo_parse(const char *text, const char *field, uint64_t *ret_bytes)
{
    size_t length = strlen(field);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        unsigned long long kib;
        if (strncmp(line, field, length) == 0 && line[length] == ':' &&
            sscanf(line + length + 1, "%llu kB", &kib) == 1) {
            *ret_bytes = kib * 1024;
            return true;
        }
    }
    return false;
}

/* What a sample keeps of a VM: its QEMU and its supervisor. */
typedef struct {
    struct {
        pid_t pid;
        GwProcessTimes times;
    } processes[2];
} VmTimes;

struct GwLoad {
    GwCpuTimes cpu;
    gint64 when_us;
    GHashTable *vms; /* name → VmTimes */
};

static GwCpuTimes
read_cpu_times(void)
{
    GwCpuTimes times = {0};
    g_autofree char *text = NULL;
    if (g_file_get_contents("/proc/stat", &text, NULL, NULL))
        gw_cpu_times_parse(text, &times);
    return times;
}

GwLoad *
gw_load_new(void)
{
    GwLoad *self = g_new0(GwLoad, 1);
    self->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->cpu = read_cpu_times();
    self->when_us = g_get_monotonic_time();
    return self;
}

void
gw_load_free(GwLoad *self)
{
    if (!self)
        return;
    g_hash_table_unref(self->vms);
    g_free(self);
}

static bool
read_process_file(pid_t pid, const char *file, char **ret_text)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, file);
    return g_file_get_contents(path, ret_text, NULL, NULL);
}

/* What a process has for itself. */
static uint64_t
private_bytes(pid_t pid)
{
    unsigned long long resident, shared;
    g_autofree char *text = NULL;
    if (!read_process_file(pid, "statm", &text) || sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 ||
        resident < shared)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Adds to the VM's times and bytes; returns the jiffies since the last sample. */
static uint64_t
sample_process(pid_t pid, const VmTimes *before, int i, VmTimes *now, uint64_t *memory_bytes)
{
    GwProcessTimes times;
    g_autofree char *text = NULL;
    if (pid <= 0 || !read_process_file(pid, "stat", &text) || !gw_process_times_parse(text, &times))
        return 0;
    now->processes[i].pid = pid;
    now->processes[i].times = times;
    *memory_bytes += private_bytes(pid);
    if (!before || before->processes[i].pid != pid || before->processes[i].times.started != times.started ||
        times.jiffies < before->processes[i].times.jiffies)
        return 0;
    return times.jiffies - before->processes[i].times.jiffies;
}

static JsonObject *
sample_vm(GwLoad *self, const GwLoadVm *vm, double elapsed_s, GHashTable *samples)
{
    const VmTimes *before = g_hash_table_lookup(self->vms, vm->name);
    VmTimes *now = g_new0(VmTimes, 1);
    uint64_t bytes = vm->guest_resident_bytes;
    uint64_t jiffies = sample_process(vm->qemu_pid, before, 0, now, &bytes) +
                       sample_process(vm->supervisor_pid, before, 1, now, &bytes);
    g_hash_table_replace(samples, g_strdup(vm->name), now);
    double percent = elapsed_s > 0 ? 100.0 * (double)jiffies / (double)sysconf(_SC_CLK_TCK) / elapsed_s : 0;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", vm->name);
    json_object_set_double_member(object, "cpu_percent", percent);
    json_object_set_int_member(object, "memory_bytes", (gint64)bytes);
    return object;
}

JsonObject *
gw_load_sample(GwLoad *self, const GwLoadVm *vms, unsigned n_vms)
{
    g_autofree char *meminfo = NULL;
    uint64_t available = 0;
    if (g_file_get_contents("/proc/meminfo", &meminfo, NULL, NULL))
        gw_meminfo_parse(meminfo, "MemAvailable", &available);
    GwCpuTimes cpu = read_cpu_times();
    gint64 now_us = g_get_monotonic_time();
    GHashTable *samples = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    JsonArray *array = json_array_new();
    for (unsigned i = 0; i < n_vms; i++)
        json_array_add_object_element(
            array, sample_vm(self, &vms[i], (double)(now_us - self->when_us) / G_USEC_PER_SEC, samples));
    JsonObject *load = json_object_new();
    json_object_set_double_member(load, "cpu_percent", gw_cpu_times_percent(&self->cpu, &cpu));
    json_object_set_int_member(load, "memory_available_bytes", (gint64)available);
    json_object_set_array_member(load, "vms", array);
    g_hash_table_unref(self->vms);
    self->vms = samples;
    self->cpu = cpu;
    self->when_us = now_us;
    return load;
}
