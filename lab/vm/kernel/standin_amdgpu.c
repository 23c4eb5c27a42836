// SPDX-License-Identifier: GPL-3.0-or-later OR GPL-2.0-only
/*
 * Stand-in for the amdgpu driver on MI50 cards: it binds to QEMU's pci-testdev, gives the device the ids of an MI50, and
 * registers amdgpu's hwmon attributes (edge, junction, mem, power, cap, and the fan that an MI50 does not have). PCI
 * addresses, binding, removal and rescan, hwmon numbers are the kernel's own. Through debugfs a test sets the values and
 * makes reads fail, hang uninterruptibly or hang killably.
 * Does not prove: anything about the real amdgpu driver, its timing, its reset or its runtime suspend.
 */
#include <linux/debugfs.h>
#include <linux/hwmon-sysfs.h>
#include <linux/hwmon.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/wait.h>

#define TESTDEV_VENDOR 0x1b36
#define TESTDEV_DEVICE 0x0005
#define MI50 0x66a1
#define CARDS 4
#define SENSORS 3

enum { EDGE, JUNCTION, MEM, POWER, CAP };

struct card {
	unsigned int slot;
	u32 temp[SENSORS];	/* m°C */
	u32 power;	/* what the card would draw, µW */
	u32 cap, cap_min, cap_max, cap_default;	/* µW */
	bool cap_ignored;	/* the cap is stored and changes nothing */
	u32 cap_error;	/* errno of writes to power1_cap */
	u32 error, error_mask;	/* errno of reads; bit N: attribute N of the enum */
	u32 hang, hang_mask;	/* 1: uninterruptible (D state), 2: killable */
	u32 fan_writes;	/* writes to the phantom fan: nobody may do that */
	wait_queue_head_t released;
};

static struct card cards[CARDS];
static unsigned int found;
static struct dentry *folder;

static struct card *card_of(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static int gate(struct card *card, int attribute)
{
	if (card->hang && card->hang_mask & BIT(attribute)) {
		if (card->hang == 1)
			wait_event(card->released, !READ_ONCE(card->hang));
		else if (wait_event_killable(card->released, !READ_ONCE(card->hang)))
			return -EINTR;
	}
	if (card->error && card->error_mask & BIT(attribute))
		return -(int)card->error;
	return 0;
}

static ssize_t temp_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int index = to_sensor_dev_attr(attr)->index;
	int error = gate(card_of(dev), index);

	return error ? error : sysfs_emit(buf, "%u\n", card_of(dev)->temp[index]);
}

static ssize_t power1_average_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct card *card = card_of(dev);
	int error = gate(card, POWER);
	u32 drawn = card->cap_ignored ? card->power : min(card->power, card->cap);

	return error ? error : sysfs_emit(buf, "%u\n", drawn);
}

static ssize_t power1_cap_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int error = gate(card_of(dev), CAP);

	return error ? error : sysfs_emit(buf, "%u\n", card_of(dev)->cap);
}

static ssize_t power1_cap_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct card *card = card_of(dev);
	u32 value;
	int error = kstrtou32(buf, 10, &value);

	if (error)
		return error;
	if (card->cap_error)
		return -(int)card->cap_error;
	if (value < card->cap_min || value > card->cap_max)
		return -EINVAL;
	card->cap = value;
	return count;
}

/* A number that never changes; below, one of struct card's fields by its offset. */
static ssize_t limit_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", to_sensor_dev_attr(attr)->index);
}

static ssize_t field_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", *(u32 *)((char *)card_of(dev) + to_sensor_dev_attr(attr)->index));
}

static ssize_t label_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	static const char *const labels[] = { "edge", "junction", "mem", "PPT" };

	return sysfs_emit(buf, "%s\n", labels[to_sensor_dev_attr(attr)->index]);
}

static ssize_t phantom_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	card_of(dev)->fan_writes++;
	return count;
}

#define FIELD(name, field) static SENSOR_DEVICE_ATTR(name, 0444, field_show, NULL, offsetof(struct card, field))
#define LIMIT(name, value) static SENSOR_DEVICE_ATTR(name, 0444, limit_show, NULL, value)
#define TEMP(number, sensor, limit)                                                     \
	static SENSOR_DEVICE_ATTR(temp##number##_input, 0444, temp_show, NULL, sensor);  \
	static SENSOR_DEVICE_ATTR(temp##number##_label, 0444, label_show, NULL, sensor); \
	LIMIT(temp##number##_crit, limit);                                               \
	LIMIT(temp##number##_crit_hyst, -273150);                                        \
	LIMIT(temp##number##_emergency, limit + 5000)

TEMP(1, EDGE, 100000);
TEMP(2, JUNCTION, 105000);
TEMP(3, MEM, 94000);
FIELD(power1_cap_min, cap_min);
FIELD(power1_cap_max, cap_max);
FIELD(power1_cap_default, cap_default);
static SENSOR_DEVICE_ATTR(power1_label, 0444, label_show, NULL, POWER);
static SENSOR_DEVICE_ATTR(pwm1, 0644, limit_show, phantom_store, 0);
static SENSOR_DEVICE_ATTR(pwm1_enable, 0644, limit_show, phantom_store, 2);
static SENSOR_DEVICE_ATTR(pwm1_min, 0444, limit_show, NULL, 0);
static SENSOR_DEVICE_ATTR(pwm1_max, 0444, limit_show, NULL, 255);
static SENSOR_DEVICE_ATTR(fan1_input, 0444, limit_show, NULL, 0);
static DEVICE_ATTR_RO(power1_average);
static DEVICE_ATTR_RW(power1_cap);

#define OF_TEMP(number)                                       \
	&sensor_dev_attr_temp##number##_input.dev_attr.attr,      \
	&sensor_dev_attr_temp##number##_label.dev_attr.attr,      \
	&sensor_dev_attr_temp##number##_crit.dev_attr.attr,       \
	&sensor_dev_attr_temp##number##_crit_hyst.dev_attr.attr,  \
	&sensor_dev_attr_temp##number##_emergency.dev_attr.attr

static struct attribute *amdgpu_attrs[] = {
	OF_TEMP(1), OF_TEMP(2), OF_TEMP(3),
	&dev_attr_power1_average.attr, &dev_attr_power1_cap.attr,
	&sensor_dev_attr_power1_cap_min.dev_attr.attr, &sensor_dev_attr_power1_cap_max.dev_attr.attr,
	&sensor_dev_attr_power1_cap_default.dev_attr.attr, &sensor_dev_attr_power1_label.dev_attr.attr,
	&sensor_dev_attr_pwm1.dev_attr.attr, &sensor_dev_attr_pwm1_enable.dev_attr.attr,
	&sensor_dev_attr_pwm1_min.dev_attr.attr, &sensor_dev_attr_pwm1_max.dev_attr.attr,
	&sensor_dev_attr_fan1_input.dev_attr.attr, NULL,
};
ATTRIBUTE_GROUPS(amdgpu);

static ssize_t unique_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%016x\n", 0x50a10000 + to_pci_dev(dev)->devfn);
}
static DEVICE_ATTR_RO(unique_id);
static struct attribute *device_attrs[] = { &dev_attr_unique_id.attr, NULL };
ATTRIBUTE_GROUPS(device);

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device *hwmon;
	unsigned int at;

	for (at = 0; at < found; at++)
		if (cards[at].slot == pdev->devfn)
			break;
	if (at == found)
		return -ENODEV;
	hwmon = devm_hwmon_device_register_with_groups(&pdev->dev, "amdgpu", &cards[at], amdgpu_groups);
	return PTR_ERR_OR_ZERO(hwmon);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(PCI_VENDOR_ID_ATI, MI50) }, {} };
static struct pci_driver driver = { .name = "amdgpu", .id_table = ids, .probe = probe, .dev_groups = device_groups };

static int hang_get(void *data, u64 *value)
{
	*value = ((struct card *)data)->hang;
	return 0;
}

static int hang_set(void *data, u64 value)
{
	struct card *card = data;

	WRITE_ONCE(card->hang, value);
	wake_up_all(&card->released);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hang_operations, hang_get, hang_set, "%llu\n");

static void make_files(struct card *card, const char *name)
{
	struct dentry *own = debugfs_create_dir(name, folder);

	debugfs_create_u32("edge", 0600, own, &card->temp[EDGE]);
	debugfs_create_u32("junction", 0600, own, &card->temp[JUNCTION]);
	debugfs_create_u32("mem", 0600, own, &card->temp[MEM]);
	debugfs_create_u32("power", 0600, own, &card->power);
	debugfs_create_u32("cap", 0600, own, &card->cap);
	debugfs_create_u32("cap_min", 0600, own, &card->cap_min);
	debugfs_create_u32("cap_max", 0600, own, &card->cap_max);
	debugfs_create_bool("cap_ignored", 0600, own, &card->cap_ignored);
	debugfs_create_u32("cap_error", 0600, own, &card->cap_error);
	debugfs_create_u32("error", 0600, own, &card->error);
	debugfs_create_u32("error_mask", 0600, own, &card->error_mask);
	debugfs_create_u32("hang_mask", 0600, own, &card->hang_mask);
	debugfs_create_u32("fan_writes", 0600, own, &card->fan_writes);
	debugfs_create_file_unsafe("hang", 0600, own, card, &hang_operations);
}

/* The ids are changed before the kernel looks for a driver, at start and after each rescan. */
static int adopt(struct pci_dev *pdev)
{
	struct card *card;
	unsigned int at;

	if (pdev->vendor != TESTDEV_VENDOR || pdev->device != TESTDEV_DEVICE)
		return 0;
	pdev->vendor = pdev->subsystem_vendor = PCI_VENDOR_ID_ATI;
	pdev->device = MI50;
	pdev->subsystem_device = 0x0834;
	pdev->class = PCI_CLASS_DISPLAY_OTHER << 8;
	for (at = 0; at < found; at++)
		if (cards[at].slot == pdev->devfn)
			return 0;
	if (found == CARDS)
		return -ENOSPC;
	card = &cards[found++];
	card->slot = pdev->devfn;
	card->temp[EDGE] = 38000;
	card->temp[JUNCTION] = 40000;
	card->temp[MEM] = 38000;
	card->power = 20000000;
	card->cap = card->cap_max = card->cap_default = 225000000;
	card->cap_min = 0;
	card->error_mask = card->hang_mask = ~0u;
	init_waitqueue_head(&card->released);
	make_files(card, pci_name(pdev));
	return 0;
}

static int adopt_device(struct device *dev, void *data)
{
	return adopt(to_pci_dev(dev));
}

static int on_bus_event(struct notifier_block *block, unsigned long event, void *dev)
{
	if (event == BUS_NOTIFY_ADD_DEVICE)
		adopt(to_pci_dev(dev));
	return NOTIFY_OK;
}

static struct notifier_block listener = { .notifier_call = on_bus_event };

static int __init standin_init(void)
{
	int error;

	folder = debugfs_create_dir("standin_amdgpu", NULL);
	bus_for_each_dev(&pci_bus_type, NULL, NULL, adopt_device);
	bus_register_notifier(&pci_bus_type, &listener);
	error = pci_register_driver(&driver);
	if (error) {
		bus_unregister_notifier(&pci_bus_type, &listener);
		debugfs_remove_recursive(folder);
	}
	return error;
}

static void __exit standin_exit(void)
{
	pci_unregister_driver(&driver);
	bus_unregister_notifier(&pci_bus_type, &listener);
	debugfs_remove_recursive(folder);
}

module_init(standin_init);
module_exit(standin_exit);
MODULE_DESCRIPTION("Stand-in amdgpu: the hwmon of MI50 cards on QEMU's pci-testdev");
MODULE_LICENSE("GPL");
