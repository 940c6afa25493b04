/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Texts of /proc as kernels write them, differences of samples, and this machine at work. */
#include "load.h"

#include "json.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void
test_cpu_times(void)
{
    static const struct {
        const char *text;
        bool ok;
        GwCpuTimes times;
    } cases[] = {
        /* user nice system idle iowait irq softirq steal guest guest_nice */
        {"cpu  100 20 30 4000 500 6 7 80 90 9\ncpu0 1 2 3 4\n", true, {163, 4500}},
        {"cpu 1 2 3 4\n", true, {6, 4}}, /* before 2.5.41 */
        {"cpu 1 2 3\n", false, {0}},
        {"cpu0 1 2 3 4\n", false, {0}},
        {"", false, {0}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwCpuTimes times = {0};
        g_assert_cmpint(gw_cpu_times_parse(cases[i].text, &times), ==, cases[i].ok);
        g_assert_cmpuint(times.busy, ==, cases[i].times.busy);
        g_assert_cmpuint(times.idle, ==, cases[i].times.idle);
    }
}

static void
test_percent(void)
{
    static const struct {
        GwCpuTimes before, now;
        double percent;
    } cases[] = {
        {{100, 100}, {150, 150}, 50},  {{100, 100}, {100, 200}, 0},
        {{0, 0}, {200, 0}, 100},       {{100, 100}, {100, 100}, 0}, /* no time went by */
        {{100, 200}, {150, 150}, 100},                              /* idle ran back */
        {{100, 100}, {90, 200}, 0},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        g_assert_cmpfloat_with_epsilon(gw_cpu_times_percent(&cases[i].before, &cases[i].now),
                                       cases[i].percent, 1e-9);
}

static void
test_process_times(void)
{
    static const struct {
        const char *text;
        bool ok;
        GwProcessTimes times;
    } cases[] = {
        {"812 (qemu-system-x86) S 1 812 812 0 -1 4194560 9 0 0 0 1200 340 0 0 20 0 7 0 55501 99 88 77\n",
         true,
         {1540, 55501}},
        {"812 (a) R 9 (b) S 1 812 812 0 -1 4194560 9 0 0 0 7 8 0 0 20 0 7 0 9 99 88\n", true, {15, 9}},
        {"812 (x) S 1 812 812 0 -1 4194560 9 0 0 0 1200", false, {0}},
        {"812", false, {0}},
        {"", false, {0}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwProcessTimes times = {0};
        g_assert_cmpint(gw_process_times_parse(cases[i].text, &times), ==, cases[i].ok);
        g_assert_cmpuint(times.jiffies, ==, cases[i].times.jiffies);
        g_assert_cmpuint(times.started, ==, cases[i].times.started);
    }
}

static void
test_meminfo(void)
{
    static const char text[] = "MemTotal:       24689000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n"
                               "HugePages_Total:       3\nBroken: x kB";
    static const struct {
        const char *field;
        bool ok;
        uint64_t bytes;
    } cases[] = {
        {"MemTotal", true, 25281536000},
        {"MemAvailable", true, 20480000000},
        {"MemFre", false, 0},
        {"Free", false, 0},
        {"Broken", false, 0},
        {"Nothing", false, 0},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t bytes = 0;
        g_assert_cmpint(gw_meminfo_parse(text, cases[i].field, &bytes), ==, cases[i].ok);
        g_assert_cmpuint(bytes, ==, cases[i].bytes);
    }
}

/* Busy until the kernel has charged us for so long. */
static void
burn(double seconds)
{
    clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
    while (clock() < end)
        ;
}

static double
vm_percent(JsonObject *sample, guint i)
{
    return json_object_get_double_member(gw_json_array_object(gw_json_get_array(sample, "vms"), i),
                                         "cpu_percent");
}

static void
test_sample(void)
{
    const GwLoadVm vms[] = {
        {"us", getpid(), 0, 1000},    /* we are the QEMU of this one */
        {"also", 0, getpid(), 0},     /* and the supervisor of that */
        {"gone", 2147483646, 0, 500}, /* nobody has this pid */
        {"nobody", 0, 0, 0},
    };
    g_autoptr(GwLoad) load = gw_load_new();
    g_autoptr(JsonObject) first = gw_load_sample(load, vms, G_N_ELEMENTS(vms));
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++)
        g_assert_cmpfloat(vm_percent(first, i), ==, 0);
    gint64 begin_us = g_get_monotonic_time();
    burn(0.2);
    g_autoptr(JsonObject) second = gw_load_sample(load, vms, G_N_ELEMENTS(vms));
    double elapsed_s = (double)(g_get_monotonic_time() - begin_us) / G_USEC_PER_SEC;
    double expected = 100 * 0.2 / elapsed_s;
    /* jiffies are of ten milliseconds */
    g_assert_cmpfloat(fabs(vm_percent(second, 0) - expected), <, 15);
    g_assert_cmpfloat(fabs(vm_percent(second, 0) - vm_percent(second, 1)), <,
                      15); /* read one after the other */
    g_assert_cmpfloat(vm_percent(second, 2), ==, 0);
    g_assert_cmpfloat(json_object_get_double_member(second, "cpu_percent"), >, 0);
    g_assert_cmpfloat(json_object_get_double_member(second, "cpu_percent"), <=, 100);
    g_assert_cmpint(json_object_get_int_member(second, "memory_available_bytes"), >, 1000000);
    g_assert_cmpuint(json_object_get_size(second), ==, 3);

    /* a VM that was not in the last sample begins anew */
    g_autoptr(JsonObject) third = gw_load_sample(load, NULL, 0);
    g_assert_cmpuint(json_array_get_length(gw_json_get_array(third, "vms")), ==, 0);
    burn(0.05);
    g_autoptr(JsonObject) fourth = gw_load_sample(load, vms, 1);
    g_assert_cmpfloat(vm_percent(fourth, 0), ==, 0);
}

static int64_t
vm_bytes(GwLoad *load, const GwLoadVm *vm)
{
    g_autoptr(JsonObject) sample = gw_load_sample(load, vm, 1);
    return json_object_get_int_member(gw_json_array_object(gw_json_get_array(sample, "vms"), 0),
                                      "memory_bytes");
}

/* Shared memory is the guest's image, counted by who has it; private memory is the process's own. */
static void
test_memory(void)
{
    const size_t size = 32 << 20;
    const GwLoadVm vm = {"us", getpid(), 0, 5000};
    g_autoptr(GwLoad) load = gw_load_new();
    int64_t before = vm_bytes(load, &vm);
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(shared, 1, size);
    g_assert_cmpint(vm_bytes(load, &vm) - before, <, 8 << 20);
    char *own = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(own, 1, size);
    int64_t after = vm_bytes(load, &vm);
    g_assert_cmpint(after - before, >=, (int64_t)size - (8 << 20));
    g_assert_cmpint(after - before, <, (int64_t)size + (8 << 20));
    munmap(shared, size);
    munmap(own, size);

    const GwLoadVm ended = {"ended", 0, 0, 5000};
    g_assert_cmpint(vm_bytes(load, &ended), ==, 5000);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/load/cpu-times", test_cpu_times);
    g_test_add_func("/load/percent", test_percent);
    g_test_add_func("/load/process-times", test_process_times);
    g_test_add_func("/load/meminfo", test_meminfo);
    g_test_add_func("/load/sample", test_sample);
    g_test_add_func("/load/memory", test_memory);
    return g_test_run();
}
