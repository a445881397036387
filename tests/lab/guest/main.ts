console.log("hello from the guest");
