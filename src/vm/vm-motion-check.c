/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is asked before a VM leaves: QEMU's facts, those of /proc, and the verdict over them. */
#include "motion-check.h"
#include "vm-motion.h"

/* NULL only if QEMU or /proc could not be asked. */
static GArray *
find(GwVm *self, bool *ret_may_punch, GError **error)
{
    g_auto(GwQemuFacts) qemu = {0};
    if (!gw_qemu_facts(self->qemu, &qemu, error))
        return NULL;
    g_auto(GwMotionFacts) facts = {
        .config = self->config,
        .accel = self->accel.accel,
        .qemu = &qemu,
        .touches_direct_reads = true, /* preload/direct-read.c, in every QEMU that we start */
    };
    if (!gw_motion_facts_gather(&facts, self->image, gw_qemu_process(self->qemu)->pid,
                                gw_qemu_uffd(self->qemu), error))
        return NULL;
    *ret_may_punch = *qemu.balloons != NULL;
    return gw_motion_check(&facts);
}

bool
gw_vm_motion_check(GwVm *self, bool *ret_may_punch, GError **error)
{
    g_autoptr(GArray) findings = find(self, ret_may_punch, error);
    if (!findings)
        return false;
    for (guint i = 0; i < findings->len; i++) {
        const GwMotionFinding *finding = &g_array_index(findings, GwMotionFinding, i);
        if (finding->severity == GW_MOTION_WARNING)
            g_warning("motion: %s (%s)", finding->text, finding->id);
    }
    return gw_motion_check_verdict(findings, error);
}

JsonObject *
gw_vm_motion_findings(GwVm *self, GError **error)
{
    bool may_punch;
    g_autoptr(GArray) findings = find(self, &may_punch, error);
    if (!findings)
        return NULL;
    JsonObject *result = json_object_new();
    json_object_set_array_member(result, "findings", gw_motion_findings_to_json(findings));
    return result;
}
