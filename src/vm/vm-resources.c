/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening what QEMU inherits. */
#include "vm-resources.h"

#include "error.h"
#include "tap.h"
#include "unix-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void
init_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fds[i] = -1;
}

void
gw_vm_resources_init(GwVmResources *self)
{
    *self = (GwVmResources){0};
    for (size_t i = 0; i < G_N_ELEMENTS(self->disks); i++)
        self->disks[i] = (GwDiskFds){-1, -1};
    init_fds(self->cdroms, G_N_ELEMENTS(self->cdroms));
    init_fds(self->taps, G_N_ELEMENTS(self->taps));
    init_fds(self->serials, G_N_ELEMENTS(self->serials));
    init_fds(self->fds.serial_fds, G_N_ELEMENTS(self->fds.serial_fds));
    self->fds.memory_fd = self->fds.qmp_fd = -1;
    self->fds.kernel_fd = self->fds.initrd_fd = self->fds.uefi_vars_fd = -1;
    self->fds.disks = self->disks;
    self->fds.cdrom_fds = self->cdroms;
    self->fds.tap_fds = self->taps;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void
gw_vm_resources_clear(GwVmResources *self)
{
    for (size_t i = 0; i < G_N_ELEMENTS(self->disks); i++) {
        close_fd(&self->disks[i].rw_fd);
        close_fd(&self->disks[i].ro_fd);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(self->cdroms); i++)
        close_fd(&self->cdroms[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(self->taps); i++)
        close_fd(&self->taps[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(self->serials); i++) {
        close_fd(&self->serials[i]);
        close_fd(&self->fds.serial_fds[i]);
    }
    close_fd(&self->fds.kernel_fd);
    close_fd(&self->fds.initrd_fd);
    close_fd(&self->fds.uefi_vars_fd);
}

static bool
open_disks(GwVmResources *self, const GwVmConfig *config, const GwVmSetup *setup, GError **error)
{
    for (guint i = 0; i < config->disks->len; i++) {
        const GwDiskConfig *disk = &g_array_index(config->disks, GwDiskConfig, i);
        int direct = disk->cache == GW_DISK_CACHE_NONE ? O_DIRECT : 0;
        self->disks[i].ro_fd = gw_vm_setup_open(setup, &disk->file, O_RDONLY | direct, error);
        if (self->disks[i].ro_fd >= 0 && !disk->read_only)
            self->disks[i].rw_fd = gw_vm_setup_open(setup, &disk->file, O_RDWR | direct, error);
        if (self->disks[i].ro_fd < 0 || (!disk->read_only && self->disks[i].rw_fd < 0)) {
            g_prefix_error(error, "%s: ", disk->id);
            return false;
        }
    }
    for (guint i = 0; i < config->cdroms->len; i++) {
        const GwCdromConfig *cdrom = &g_array_index(config->cdroms, GwCdromConfig, i);
        if (!cdrom->has_file)
            continue;
        self->cdroms[i] = gw_vm_setup_open(setup, &cdrom->file, O_RDONLY, error);
        if (self->cdroms[i] < 0) {
            g_prefix_error(error, "%s: ", cdrom->id);
            return false;
        }
    }
    return true;
}

/* QEMU opens a kernel by name, which is a descriptor's name here, but with its own user's rights. */
static bool
open_readable(int *ret_fd, const GwVmSetup *setup, const GwFileRef *file, const char *what, GError **error)
{
    struct stat st;
    *ret_fd = gw_vm_setup_open(setup, file, O_RDONLY, error);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0) {
        g_prefix_error(error, "%s: ", what);
        return false;
    }
    if (st.st_mode & S_IROTH)
        return true;
    g_set_error(
        error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
        "%s: %s in datastore '%s' has mode %04o, so QEMU's user '%s' cannot read it; 'chmod o+r' mends that",
        what, file->path, file->datastore, st.st_mode & 07777, setup->qemu_user);
    return false;
}

static bool
open_boot(GwVmResources *self, const GwVmConfig *config, const GwVmSetup *setup, GError **error)
{
    const GwBootConfig *boot = &config->boot;
    if (boot->kind == GW_BOOT_KERNEL)
        return open_readable(&self->fds.kernel_fd, setup, &boot->kernel, "kernel", error) &&
               (!boot->initrd.path ||
                open_readable(&self->fds.initrd_fd, setup, &boot->initrd, "initrd", error));
    if (boot->kind == GW_BOOT_UEFI) {
        self->fds.uefi_code = setup->uefi_code;
        self->fds.uefi_vars_fd = gw_vm_setup_open(setup, &boot->uefi_vars, O_RDWR, error);
        if (self->fds.uefi_vars_fd < 0)
            g_prefix_error(error, "UEFI variables: ");
        return self->fds.uefi_vars_fd >= 0;
    }
    return true;
}

static bool
open_taps(GwVmResources *self, const GwVmConfig *config, const GwVmSetup *setup, GError **error)
{
    for (guint i = 0; i < config->nics->len; i++) {
        const GwNicConfig *nic = &g_array_index(config->nics, GwNicConfig, i);
        const char *bridge = g_hash_table_lookup(setup->port_groups, nic->port_group);
        if (!bridge) {
            g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND,
                        "%s: port group '%s' is not on this host; --port-group %s=BRIDGE names it", nic->id,
                        nic->port_group, nic->port_group);
            return false;
        }
        char name[IFNAMSIZ];
        gw_tap_name(config->uuid, i, name);
        self->taps[i] = gw_tap_open(name, bridge, error);
        if (self->taps[i] < 0) {
            g_prefix_error(error, "%s: ", nic->id);
            return false;
        }
    }
    return true;
}

static char *
serial_path(const GwVmDir *dir, unsigned port)
{
    g_autofree char *name = g_strdup_printf("serial%u.sock", port);
    return gw_vm_dir_file(dir, name);
}

int
gw_vm_serial_connect(const GwVmDir *dir, unsigned port, GError **error)
{
    g_autofree char *path = serial_path(dir, port);
    return gw_unix_socket_connect(path, error);
}

/* Our end is connected before QEMU runs: not a byte of the guest's first words is lost. */
static bool
open_serials(GwVmResources *self, const GwVmConfig *config, const GwVmDir *dir, GError **error)
{
    for (unsigned i = 0; i < config->n_serials; i++) {
        g_autofree char *path = serial_path(dir, i);
        self->fds.serial_fds[i] = gw_unix_socket_listen(path, 0600, error);
        if (self->fds.serial_fds[i] < 0)
            return false;
        self->serials[i] = gw_vm_serial_connect(dir, i, error);
        if (self->serials[i] < 0)
            return false;
    }
    return true;
}

bool
gw_vm_resources_open(GwVmResources *ret_resources, const GwVmConfig *config, const GwVmSetup *setup,
                     const GwVmDir *dir, GError **error)
{
    g_auto(GwVmResources) self;
    gw_vm_resources_init(&self);
    if (!open_disks(&self, config, setup, error) || !open_boot(&self, config, setup, error) ||
        !open_taps(&self, config, setup, error) || !open_serials(&self, config, dir, error))
        return false;
    *ret_resources = self;
    ret_resources->fds.disks = ret_resources->disks;
    ret_resources->fds.cdrom_fds = ret_resources->cdroms;
    ret_resources->fds.tap_fds = ret_resources->taps;
    gw_vm_resources_init(&self);
    return true;
}

int
gw_vm_resources_steal_serial(GwVmResources *self, unsigned port)
{
    return g_steal_fd(&self->serials[port]);
}
