/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every route of the API: who may, what the audit log calls it, and who answers. */
#include "api-internal.h"

#define OPEN       GW_ACCESS_OPEN
#define READ       GW_ACCESS_READ
#define OPERATE    GW_ACCESS_OPERATE
#define ADMINISTER GW_ACCESS_ADMINISTER

/* clang-format off */
const GwRoute gw_api_routes[] = {
    {"GET", "/v1/about", OPEN, .work = gw_api_about},
    {"POST", "/v1/login", OPEN, "session.login", "user", "user", gw_api_login},
    {"POST", "/v1/logout", READ, "session.logout", .work = gw_api_logout},
    {"POST", "/v1/join", OPEN, "host.join", "host", "name", gw_api_join},

    {"GET", "/v1/hosts", READ, .work = gw_api_hosts},
    {"POST", "/v1/hosts/tokens", ADMINISTER, "host.add-token", "host", "host", gw_api_host_token},
    {"GET", "/v1/hosts/{host}", READ, .work = gw_api_host},
    {"DELETE", "/v1/hosts/{host}", ADMINISTER, "host.remove", "host", .work = gw_api_host_remove},
    {"POST", "/v1/hosts/{host}/maintenance", OPERATE, "host.maintenance", "host", .work = gw_api_host_maintenance},
    {"POST", "/v1/hosts/{host}/probe", OPERATE, "host.probe", "host", .work = gw_api_host_probe},
    {"GET", "/v1/networks", READ, .work = gw_api_networks},
    {"GET", "/v1/datastores", READ, .work = gw_api_datastores},

    {"GET", "/v1/vms", READ, .work = gw_api_vms},
    {"POST", "/v1/vms", OPERATE, "vm.create", "vm", "config/name", gw_api_vm_create, 201},
    {"GET", "/v1/vms/{vm}", READ, .work = gw_api_vm},
    {"DELETE", "/v1/vms/{vm}", OPERATE, "vm.remove", "vm", .work = gw_api_vm_remove},
    {"GET", "/v1/vms/{vm}/config", READ, .work = gw_api_vm_config},
    {"POST", "/v1/vms/{vm}/adopt", OPERATE, "vm.adopt", "vm", .work = gw_api_vm_adopt, .status = 201},
    {"POST", "/v1/vms/{vm}/power", OPERATE, "vm.power", "vm", .work = gw_api_vm_power},
    {"POST", "/v1/vms/{vm}/check", READ, .work = gw_api_vm_check},
    {"POST", "/v1/vms/{vm}/migrate", OPERATE, "vm.migrate", "vm", .work = gw_api_vm_migrate, .status = 202},
    {"POST", "/v1/vms/{vm}/resolve", ADMINISTER, "vm.resolve", "vm", .work = gw_api_vm_resolve},
    {"GET", "/v1/vms/{vm}/console/{port}", OPERATE, .work = gw_api_console_prepare, .begin = gw_api_console_begin},
    {"POST", "/v1/vms/{vm}/console/{port}", OPERATE, "vm.console-input", "vm", .work = gw_api_console_write,
     .is_raw = true},

    {"GET", "/v1/tasks", READ, .work = gw_api_tasks},
    {"GET", "/v1/tasks/{task}", READ, .work = gw_api_task},
    {"DELETE", "/v1/tasks/{task}", OPERATE, "task.cancel", "task", .work = gw_api_task_cancel},
    {"POST", "/v1/tasks/{task}/client-gap", OPERATE, "task.client-gap", "task", .work = gw_api_task_client_gap},

    {"GET", "/v1/events", READ, .work = gw_api_events_prepare, .begin = gw_api_events_begin},
    {"GET", "/v1/audit", ADMINISTER, .work = gw_api_audit},

    {"GET", "/v1/users", ADMINISTER, .work = gw_api_users},
    {"POST", "/v1/users", ADMINISTER, "user.add", "user", "name", gw_api_user_add, 201},
    {"DELETE", "/v1/users/{user}", ADMINISTER, "user.remove", "user", .work = gw_api_user_remove},
    {"POST", "/v1/users/{user}/role", ADMINISTER, "user.role", "user", .work = gw_api_user_role},
    /* One's own with the old one; of others for administrators: the handler decides. */
    {"POST", "/v1/users/{user}/password", READ, "user.password", "user", .work = gw_api_user_password},
};
/* clang-format on */

const size_t gw_api_n_routes = G_N_ELEMENTS(gw_api_routes);
