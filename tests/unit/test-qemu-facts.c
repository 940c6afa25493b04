/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What QEMU reports of its devices: from a peer that has all of them, from ones that lie, and from the real
 * one. */
#include "qemu-facts.h"

#include "counting-guest.h"
#include "qemu-internal.h"
#include "qmp-mock.h"

#include <string.h>

/* Answers to the questions, by command and path or property. */
typedef struct {
    const char *command, *about, *answer;
} Answer;

static const Answer *answers; /* of the test that runs; ends with NULL */

static const Answer everything[] = {
    {"query-named-block-nodes", NULL,
     "[{\"node-name\":\"disk0\",\"drv\":\"raw\",\"ro\":false,\"cache\":{\"direct\":true}},"
     "{\"node-name\":\"#block1\",\"drv\":\"file\",\"ro\":false,\"cache\":{\"direct\":true}},"
     "{\"node-name\":\"cd\",\"drv\":\"file\",\"ro\":true,\"cache\":{\"direct\":false}},"
     "{\"node-name\":\"n\",\"drv\":\"nvme\",\"ro\":true,\"cache\":{\"direct\":false}}]"},
    {"qom-list", "/machine/peripheral",
     "[{\"name\":\"type\",\"type\":\"string\"},{\"name\":\"gpu\",\"type\":\"child<vfio-pci>\"},"
     "{\"name\":\"fs\",\"type\":\"child<vhost-user-fs-pci>\"},{\"name\":\"lun\",\"type\":\"child<scsi-block>\"},"
     "{\"name\":\"sock\",\"type\":\"child<vhost-vsock-pci>\"},"
     "{\"name\":\"net0\",\"type\":\"child<virtio-net-pci>\"},"
     "{\"name\":\"bal\",\"type\":\"child<virtio-balloon-pci>\"}]"},
    {"qom-list", "/machine/peripheral-anon",
     "[{\"name\":\"device[0]\",\"type\":\"child<vhost-scsi-pci>\"},{\"name\":\"odd\",\"type\":\"child<\"}]"},
    {"qom-get", "free-page-reporting", "true"},
    {"query-memory-devices", NULL,
     "[{\"type\":\"dimm\",\"data\":{\"id\":\"d1\"}},{\"type\":\"virtio-mem\",\"data\":{}}]"},
    {"query-cpus-fast", NULL, "[{\"qom-path\":\"/machine/unattached/device[0]\"}]"},
    {"qom-get", "vmx", "false"},
    {"qom-get", "svm", "true"},
    {"qom-get", "confidential-guest-support", "\"/objects/sev0\""},
    {"query-migrate", NULL, "{\"blocked-reasons\":[\"vfio: no migration\",7]}"},
    {NULL, NULL, NULL},
};

static const char *
find_answer(const char *command, const char *about)
{
    for (const Answer *a = answers; a->command; a++)
        if (strcmp(a->command, command) == 0 && (!a->about || g_strcmp0(a->about, about) == 0))
            return a->answer;
    return NULL;
}

static void
script_answers(Session *s)
{
    negotiate(s);
    for (;;) {
        g_autoptr(JsonObject) command = hear_any(s);
        if (!command)
            return;
        JsonObject *arguments = json_object_has_member(command, "arguments")
                                    ? json_object_get_object_member(command, "arguments")
                                    : NULL;
        const char *about = NULL;
        if (arguments && json_object_has_member(arguments, "property"))
            about = json_object_get_string_member(arguments, "property");
        else if (arguments && json_object_has_member(arguments, "path"))
            about = json_object_get_string_member(arguments, "path");
        const char *found = find_answer(json_object_get_string_member(command, "execute"), about);
        answer(s, id_of(command), found ? found : "null");
    }
}

static void
assert_list(char **list, const char *expected)
{
    g_autofree char *joined = g_strjoinv(", ", list);
    g_assert_cmpstr(joined, ==, expected);
}

static void
test_everything_is_found(void)
{
    answers = everything;
    g_autoptr(Session) s = session_new(script_answers);
    GwQemu qemu = {.qmp = s->qmp, .cannot_migrate = "x-ignore-shared"};
    g_auto(GwQemuFacts) facts = {0};
    gw_qemu_facts(&qemu, &facts, &s->error);
    g_assert_no_error(s->error);
    assert_list(facts.direct_nodes, "disk0 (raw), #block1 (file)");
    assert_list(facts.unseen_nodes, "n (nvme)");
    assert_list(facts.unseen_devices,
                "gpu (vfio-pci), fs (vhost-user-fs-pci), lun (scsi-block), device[0] (vhost-scsi-pci)");
    assert_list(facts.memory_devices, "d1 (dimm), without an id (virtio-mem)");
    assert_list(facts.balloons, "bal (virtio-balloon-pci)");
    assert_list(facts.blockers, "vfio: no migration, QEMU gives no reason");
    g_assert_true(facts.reports_free_pages);
    g_assert_true(facts.cpu_nests);
    g_assert_true(facts.is_confidential);
    g_assert_cmpstr(facts.missing_capability, ==, "x-ignore-shared");
}

/* Each answer in turn is of another shape: nothing passes for "none of it". */
static void
test_no_answer_is_taken_for_no(void)
{
    static const char *const wrong[] = {"7", "[7]", "null"};
    for (size_t broken = 0; broken < G_N_ELEMENTS(everything) - 1; broken++)
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
            Answer changed[G_N_ELEMENTS(everything)];
            memcpy(changed, everything, sizeof everything);
            changed[broken].answer = wrong[i];
            answers = changed;
            g_autoptr(Session) s = session_new(script_answers);
            GwQemu qemu = {.qmp = s->qmp};
            g_auto(GwQemuFacts) facts = {0};
            bool told = gw_qemu_facts(&qemu, &facts, &s->error);
            if (told) /* what is no path is a reason for caution */
                g_assert_cmpstr(changed[broken].about, ==, "confidential-guest-support");
            g_assert_true(told ? facts.is_confidential : facts.direct_nodes == NULL);
            g_clear_error(&s->error);
            g_clear_pointer(&s->qmp, gw_qmp_free);
        }
}

static void
add_balloon(GwQemu *qemu)
{
    g_autoptr(GError) error = NULL;
    JsonObject *device = json_object_new();
    json_object_set_string_member(device, "driver", "virtio-balloon-pci");
    json_object_set_string_member(device, "id", "bal");
    json_object_set_boolean_member(device, "free-page-reporting", TRUE);
    gw_qemu_command(qemu, "device_add", device, &error);
    g_assert_no_error(error);
}

static void
test_real_qemu(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
    g_assert_no_error(error);
    g_auto(GwQemuFacts) facts = {0};
    gw_qemu_facts(qemu, &facts, &error);
    g_assert_no_error(error);
    char **empty[] = {facts.direct_nodes,   facts.unseen_nodes, facts.unseen_devices,
                      facts.memory_devices, facts.balloons,     facts.blockers};
    for (size_t i = 0; i < G_N_ELEMENTS(empty); i++)
        assert_list(empty[i], "");
    g_assert_false(facts.is_confidential);
    g_assert_true(facts.cpu_nests); /* qemu64 has svm */
    g_assert_null(facts.missing_capability);
    gw_qemu_facts_clear(&facts);

    add_balloon(qemu);
    gw_qemu_facts(qemu, &facts, &error);
    g_assert_no_error(error);
    assert_list(facts.balloons, "bal (virtio-balloon-pci)");
    g_assert_true(facts.reports_free_pages);
    counting_guest_end(qemu);
}

static void
test_real_direct_disk(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    g_array_index(f->config->disks, GwDiskConfig, 0).cache = GW_DISK_CACHE_NONE;
    GwQemu *qemu = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
    if (!qemu) {
        g_test_skip(error->message); /* no O_DIRECT here */
        return;
    }
    g_auto(GwQemuFacts) facts = {0};
    gw_qemu_facts(qemu, &facts, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(g_strv_length(facts.direct_nodes), ==, 2); /* the format, and its file */
    g_assert_cmpstr(facts.direct_nodes[0], ==, "disk0 (raw)");
    counting_guest_end(qemu);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qemu-facts/everything", test_everything_is_found);
    g_test_add_func("/qemu-facts/liar", test_no_answer_is_taken_for_no);
    g_test_add("/qemu-facts/real", CountingGuest, NULL, counting_guest_set_up, test_real_qemu,
               counting_guest_tear_down);
    g_test_add("/qemu-facts/real-direct", CountingGuest, NULL, counting_guest_set_up, test_real_direct_disk,
               counting_guest_tear_down);
    return g_test_run();
}
