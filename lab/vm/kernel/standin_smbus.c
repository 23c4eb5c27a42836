// SPDX-License-Identifier: GPL-3.0-or-later OR GPL-2.0-only
/*
 * Stand-in for two SMBus controllers with a fan chip at each of the addresses 0x28 to 0x2f: register files in memory, driven
 * by the kernel's own, unmodified chip drivers. Through debugfs a test reads the registers behind the driver, changes them
 * as firmware would, and makes the bus fail: errors, writes that are acknowledged and lost, transfers that never end.
 * Does not prove: electrical behaviour, timing of a real bus, or what a chip does by itself (a register is just a byte;
 * duty, automatic mode and tacho are played by the agent from user space).
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/i2c.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define BUSES 2
#define FIRST 0x28
#define CHIPS 8
#define BANKS 8
#define BANK_SIZE 256

struct chip {
	u8 regs[BANKS * BANK_SIZE];
	/* Registers below bank_from and the selector itself are the same in every bank. bank_mask 0: a chip without banks. */
	u8 bank_reg, bank_mask, bank_from;
	bool present;	/* false: no acknowledge on this address */
	u32 read_error, write_error;	/* errno, 0: none */
	bool lose_writes;
	u32 delay_ms;
	u32 writes;	/* data bytes written by drivers, bank selection left out */
	bool hang;
};

struct bus {
	struct platform_device *parent;
	struct i2c_adapter adapter;
	struct chip chips[CHIPS];
	wait_queue_head_t released;
};

static struct bus buses[BUSES];
static struct dentry *folder;

static u8 *cell(struct chip *chip, u8 command)
{
	unsigned int bank = 0;

	if (chip->bank_mask && command != chip->bank_reg && command >= chip->bank_from)
		bank = chip->regs[chip->bank_reg] & chip->bank_mask;
	return &chip->regs[(bank % BANKS) * BANK_SIZE + command];
}

static void put(struct chip *chip, u8 command, u8 value)
{
	if (chip->bank_mask && command == chip->bank_reg) {
		chip->regs[command] = value;
		return;
	}
	chip->writes++;
	if (!chip->lose_writes)
		*cell(chip, command) = value;
}

static s32 transfer(struct i2c_adapter *adapter, u16 addr, unsigned short flags, char direction, u8 command, int size,
		    union i2c_smbus_data *data)
{
	struct bus *bus = i2c_get_adapdata(adapter);
	struct chip *chip = addr >= FIRST && addr < FIRST + CHIPS ? &bus->chips[addr - FIRST] : NULL;
	u32 error;

	if (!chip || !chip->present)
		return -ENXIO;
	/* Uninterruptible on purpose: this is the D state that no signal ends. */
	wait_event(bus->released, !READ_ONCE(chip->hang));
	if (chip->delay_ms)
		msleep(chip->delay_ms);
	error = direction == I2C_SMBUS_READ ? chip->read_error : chip->write_error;
	if (error)
		return -(s32)error;
	switch (size) {
	case I2C_SMBUS_QUICK:
		return 0;
	case I2C_SMBUS_BYTE_DATA:
		if (direction == I2C_SMBUS_WRITE)
			put(chip, command, data->byte);
		else
			data->byte = *cell(chip, command);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_SMBUS_QUICK | I2C_FUNC_SMBUS_BYTE_DATA;
}

static const struct i2c_algorithm algorithm = { .smbus_xfer = transfer, .functionality = functionality };

static ssize_t regs_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	struct chip *chip = file->private_data;

	return simple_read_from_buffer(to, count, at, chip->regs, sizeof(chip->regs));
}

static ssize_t regs_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	struct chip *chip = file->private_data;

	return simple_write_to_buffer(chip->regs, sizeof(chip->regs), at, from, count);
}

static const struct file_operations regs_operations = {
	.owner = THIS_MODULE, .open = simple_open, .read = regs_read, .write = regs_write, .llseek = default_llseek,
};

static int hang_get(void *data, u64 *value)
{
	*value = ((struct chip *)data)->hang;
	return 0;
}

static int hang_set(void *data, u64 value)
{
	int number;

	WRITE_ONCE(((struct chip *)data)->hang, value != 0);
	for (number = 0; number < BUSES; number++)
		wake_up_all(&buses[number].released);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hang_operations, hang_get, hang_set, "%llu\n");

static void make_files(struct chip *chip, int number, int addr)
{
	char name[16];
	struct dentry *own;

	snprintf(name, sizeof(name), "%d-%02x", number, addr);
	own = debugfs_create_dir(name, folder);
	debugfs_create_file("regs", 0600, own, chip, &regs_operations);
	debugfs_create_u8("bank_reg", 0600, own, &chip->bank_reg);
	debugfs_create_u8("bank_mask", 0600, own, &chip->bank_mask);
	debugfs_create_u8("bank_from", 0600, own, &chip->bank_from);
	debugfs_create_bool("present", 0600, own, &chip->present);
	debugfs_create_u32("read_error", 0600, own, &chip->read_error);
	debugfs_create_u32("write_error", 0600, own, &chip->write_error);
	debugfs_create_bool("lose_writes", 0600, own, &chip->lose_writes);
	debugfs_create_u32("delay_ms", 0600, own, &chip->delay_ms);
	debugfs_create_u32("writes", 0600, own, &chip->writes);
	debugfs_create_file_unsafe("hang", 0600, own, chip, &hang_operations);
}

static void remove_bus(struct bus *bus)
{
	i2c_del_adapter(&bus->adapter);
	platform_device_unregister(bus->parent);
}

static int add_bus(struct bus *bus, int number)
{
	int at, error;

	init_waitqueue_head(&bus->released);
	/* A parent of its own gives each bus a device path that does not depend on the kernel's numbers. */
	bus->parent = platform_device_register_simple("standin_smbus", number, NULL, 0);
	if (IS_ERR(bus->parent))
		return PTR_ERR(bus->parent);
	for (at = 0; at < CHIPS; at++)
		make_files(&bus->chips[at], number, FIRST + at);
	bus->adapter.owner = THIS_MODULE;
	bus->adapter.algo = &algorithm;
	bus->adapter.dev.parent = &bus->parent->dev;
	snprintf(bus->adapter.name, sizeof(bus->adapter.name), "stand-in SMBus %d", number);
	i2c_set_adapdata(&bus->adapter, bus);
	error = i2c_add_adapter(&bus->adapter);
	if (error)
		platform_device_unregister(bus->parent);
	return error;
}

static int __init standin_init(void)
{
	int number, error;

	folder = debugfs_create_dir("standin_smbus", NULL);
	for (number = 0; number < BUSES; number++) {
		error = add_bus(&buses[number], number);
		if (error) {
			while (number--)
				remove_bus(&buses[number]);
			debugfs_remove_recursive(folder);
			return error;
		}
	}
	return 0;
}

static void __exit standin_exit(void)
{
	int number;

	for (number = 0; number < BUSES; number++)
		remove_bus(&buses[number]);
	debugfs_remove_recursive(folder);
}

module_init(standin_init);
module_exit(standin_exit);
MODULE_DESCRIPTION("Stand-in SMBus controllers with fan chips made of registers");
MODULE_LICENSE("GPL");
